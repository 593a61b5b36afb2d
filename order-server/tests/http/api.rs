//! The API over real connections, on both stores.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::time::Duration;

use order_core::testing::PostgresServer;
use serde_json::{Value, json};

use crate::shop::{Answer, Shop, on_each_store};

fn codes(answers: &[Answer]) -> (usize, usize) {
    let count = |status| answers.iter().filter(|a| a.status == status).count();
    (count(201), count(409))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_buyers_of_five_pieces() {
    on_each_store(async |shop| {
        let id = shop.product("Last ones", 5).await;
        let body = json!({"product_id": id, "quantity": 1});
        let purchases = (0..10).map(|_| shop.post("/orders/purchase", &body));
        let answers = futures_util::future::join_all(purchases).await;
        assert_eq!(codes(&answers), (5, 5));
        let refused = answers.iter().find(|a| a.status == 409).unwrap();
        refused.is_problem("insufficient_stock");
        assert_eq!(refused.body["product_id"], json!(id));
        assert_eq!(
            (&refused.body["requested"], &refused.body["available"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(shop.get(&format!("/products/{id}")).await.body["stock"], 0);

        let id = shop.product("Last ones, later", 5).await;
        let body = json!({"product_id": id, "quantity": 1});
        let accepted = (0..10).map(|_| shop.post("/orders", &body));
        let mut states = Vec::new();
        for accepted in futures_util::future::join_all(accepted).await {
            assert_eq!(accepted.status, 202);
            states.push(shop.decided(&accepted).await["status"].clone());
        }
        let count = |state: &str| states.iter().filter(|s| *s == state).count();
        assert_eq!((count("success"), count("failed")), (5, 5));
        assert_eq!(shop.get(&format!("/products/{id}")).await.body["stock"], 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_is_taken_for_a_quantity() {
    on_each_store(async |shop| {
        let id = shop.product("Lamp", 9).await;
        let one = json!({"product_id": id, "amount": 1});
        let bought = shop.post("/orders/purchase", &one).await;
        assert_eq!(
            (bought.status, &bought.body["lines"][0]["quantity"]),
            (201, &json!(1))
        );
        let lines = json!({"lines": [{"product_id": id, "amount": 2}]});
        assert_eq!(shop.post("/orders/purchase", &lines).await.status, 201);
        let bulk = shop.post("/orders/bulk", &json!({"orders": [one]})).await;
        assert_eq!((bulk.status, &bulk.body["accepted"]), (202, &json!(1)));
        let both = json!({"product_id": id, "quantity": 1, "amount": 1});
        let refused = shop.post("/orders/purchase", &both).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!("quantity"))
        );
        let none = shop
            .post("/orders", &json!({"product_id": id, "amount": 0}))
            .await;
        assert_eq!(
            (none.status, &none.body["field"]),
            (422, &json!("quantity"))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_lives_and_is_archived() {
    on_each_store(async |shop| {
        let lamp = json!({"name": "Lamp", "price": 999.99, "stock": 3, "sku": "L-1"});
        let created = shop.post("/products", &lamp).await;
        assert_eq!(created.status, 201);
        assert_eq!(created.body["price"], "999.99");
        let path = created.header("location").replace("/api/v1", "");
        let read = shop.get(&path).await;
        assert_eq!((read.status, &read.body), (200, &created.body));
        let etag = read.header("etag");
        let again = shop
            .send("GET", &path, &[("if-none-match", &etag)], None)
            .await;
        assert_eq!(again.status, 304);
        shop.post("/products", &lamp).await.is_problem("sku_taken");

        let put = json!({"name": "Lamp 2", "price": "1299"});
        let changed = shop
            .send("PUT", &path, &[("if-match", &etag)], Some(&put))
            .await;
        assert_eq!((changed.status, &changed.body["stock"]), (200, &json!(3)));
        let stale = shop
            .send("PUT", &path, &[("if-match", &etag)], Some(&put))
            .await;
        assert_eq!(stale.status, 412);
        stale.is_problem("version_mismatch");
        let patch = json!({"stock": 7, "sku": null});
        let patched = shop.send("PATCH", &path, &[], Some(&patch)).await;
        assert_eq!(
            (&patched.body["stock"], &patched.body["sku"]),
            (&json!(7), &Value::Null)
        );
        assert_eq!(
            (&patched.body["name"], &patched.body["price"]),
            (&json!("Lamp 2"), &json!("1299.00"))
        );

        let stock = format!("{path}/stock");
        let added = shop
            .post(&stock, &json!({"delta": -7, "reason": "count"}))
            .await;
        assert_eq!((added.status, &added.body["stock"]), (200, &json!(0)));
        let short = shop.post(&stock, &json!({"delta": -1})).await;
        assert_eq!(short.status, 409);

        assert_eq!(shop.send("DELETE", &path, &[], None).await.status, 204);
        for (method, path) in [("GET", &path), ("DELETE", &path)] {
            let gone = shop.send(method, path, &[], None).await;
            assert_eq!(gone.status, 404);
            gone.is_problem("product_not_found");
        }
        let id = &created.body["id"];
        let late = shop
            .post("/orders", &json!({"product_id": id, "quantity": 1}))
            .await;
        late.is_problem("product_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_by_cursor_and_by_page() {
    on_each_store(async |shop| {
        let mut made = Vec::new();
        for number in 0..5 {
            made.insert(0, shop.product(&format!("Item {number}%"), 1).await);
        }
        let ids = |page: &Answer| -> Vec<String> {
            let items = page.body["items"].as_array().unwrap().iter();
            items
                .map(|item| item["id"].as_str().unwrap().to_owned())
                .collect()
        };
        let first = shop.get("/products?page_size=2&search=iTEM").await;
        let cursor = first.body["next_cursor"].as_str().unwrap();
        let second = shop
            .get(&format!("/products?page_size=2&cursor={cursor}"))
            .await;
        assert_eq!([ids(&first), ids(&second)].concat(), made[..4]);
        let third = shop.get("/products?page_size=2&page=3").await;
        assert_eq!(
            (ids(&third), &third.body["total"]),
            (made[4..].to_vec(), &json!(5))
        );
        assert_eq!(third.body["next_cursor"], Value::Null);
        let limited = shop.get("/products?limit=2&page=3").await;
        assert_eq!(limited.body, third.body);
        assert_eq!(
            shop.get("/products?search=%25&page=1").await.body["total"],
            5
        );
        assert_eq!(shop.get("/products?search=_&page=1").await.body["total"], 0);

        let order = json!({"lines": [{"product_id": made[0], "quantity": 1}], "reference": "r 1"});
        assert_eq!(shop.post("/orders/purchase", &order).await.status, 201);
        for (query, count) in [
            ("status=success", 1),
            ("status=pending", 0),
            ("reference=r%201", 1),
            ("reference=r", 0),
            (&format!("product_id={}", made[0]), 1),
            (&format!("product_id={}", made[1]), 0),
        ] {
            let page = shop.get(&format!("/orders?page=1&{query}")).await;
            assert_eq!(page.body["total"], count, "{query}");
        }
        for (query, status) in [
            ("cursor=AAAA", 400),
            ("page_size=0", 422),
            ("page_size=101", 422),
            ("page_size=x", 422),
            ("page=0", 422),
            ("page=501&page_size=20", 422),
            ("page=1&cursor=AAAA", 422),
            ("page=4294967296", 422),
        ] {
            let refused = shop.get(&format!("/products?{query}")).await;
            assert_eq!(refused.status, status, "{query}");
        }
        for query in [
            "/orders?status=sold",
            "/orders?reference=%00",
            "/products?search=%00",
        ] {
            assert_eq!(shop.get(query).await.status, 422, "{query}");
        }
    })
    .await;
}

/// Percent-encoded as browsers do it: UTF-8, with a plus for a space in forms.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_searched_in_any_script() {
    on_each_store(async |shop| {
        shop.product("Große ÉTAGÈRE", 1).await;
        shop.product("ガラス 100%", 1).await;
        for (query, count) in [
            ("GROSSE", 1),
            ("gro%C3%9Fe%20%C3%A9tag%C3%A8re", 1),
            ("e%CC%81tag", 1),
            ("SSE+%C3%89T", 1),
            ("%EF%BD%B6%EF%BE%9E%EF%BE%97", 1),
            ("%EF%BC%91%EF%BC%90%EF%BC%90%EF%BC%85", 1),
            ("etag", 0),
            ("%F0%9F%92%A1", 0),
        ] {
            let page = shop.get(&format!("/products?page=1&search={query}")).await;
            assert_eq!(page.body["total"], count, "{query}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn part_of_an_order_comes_back() {
    on_each_store(async |shop| {
        let (a, b) = (shop.product("a", 9).await, shop.product("b", 9).await);
        let lines = json!([{"product_id": a, "quantity": 3}, {"product_id": b, "quantity": 2}]);
        let bought = shop
            .post("/orders/purchase", &json!({"lines": lines}))
            .await;
        assert_eq!(bought.body["lines"][0]["cancelled_quantity"], 0);
        let path = bought.header("location").replace("/api/v1", "");
        let cancel = format!("{path}/cancel");
        let back = json!({"lines": [{"product_id": a, "quantity": 2}]});
        let part = shop.post(&cancel, &back).await;
        assert_eq!(
            (part.status, &part.body["total_price"]),
            (200, &json!("7.50"))
        );
        assert_eq!(part.body["lines"][0]["cancelled_quantity"], 2);
        assert_eq!(shop.get(&path).await.body["lines"], part.body["lines"]);
        assert_eq!(shop.get(&format!("/products/{a}")).await.body["stock"], 8);
        for (body, field) in [
            (back, "lines[0].quantity"),
            (
                json!({"lines": [{"product_id": path_id(&path), "quantity": 1}]}),
                "lines[0].product_id",
            ),
            (
                json!({"lines": [{"product_id": a, "quantity": 0}]}),
                "lines[0].quantity",
            ),
            (json!({"lines": []}), "lines"),
            (json!({"lines": null}), "lines"),
            (json!({"line": 1}), "line"),
        ] {
            let refused = shop.post(&cancel, &body).await;
            assert_eq!(
                (refused.status, &refused.body["field"]),
                (422, &json!(field)),
                "{body}"
            );
        }
        let form = shop.client.post(shop.url(&cancel)).body("lines=1");
        assert_eq!(form.send().await.unwrap().status(), 415);
        assert_eq!(shop.get(&format!("/products/{a}")).await.body["stock"], 8);
        let rest = shop.client.post(shop.url(&cancel));
        let rest = rest.header("content-type", "application/json").send().await;
        assert_eq!(rest.unwrap().status(), 200);
        let all = shop.get(&path).await.body;
        assert_eq!(all["total_price"], "0.00");
        assert_eq!(all["lines"][1]["cancelled_quantity"], 2);
        assert_eq!(shop.get(&format!("/products/{b}")).await.body["stock"], 9);
        all_of_it_is_in_the_history(shop, &format!("/products/{a}/stock")).await;
        let nowhere = format!("/products/{}/stock", path_id(&path));
        assert_eq!(shop.get(&nowhere).await.status, 404);
        assert_eq!(shop.verify().await, []);
    })
    .await;
}

/// Nine pieces came, three were sold, and both returns gave back three.
async fn all_of_it_is_in_the_history(shop: &Shop, history: &str) {
    let page = shop.get(&format!("{history}?page_size=3")).await.body;
    let kinds = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        let kinds = items.map(|entry| (entry["kind"].clone(), entry["delta"].clone()));
        kinds.collect::<Vec<_>>()
    };
    let told = [("return", 1), ("return", 2), ("sale", -3)];
    let told = told.map(|(kind, delta)| (json!(kind), json!(delta)));
    assert_eq!(kinds(&page), told);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = shop.get(&format!("{history}?cursor={cursor}")).await.body;
    assert_eq!(kinds(&rest), [(json!("adjustment"), json!(9))]);
    assert_eq!(rest["next_cursor"], Value::Null);
    // The minute may have changed meanwhile, and then a kind has two sums.
    let sums = shop.get(&format!("{history}?by=minute")).await.body;
    let sums = sums["items"].as_array().unwrap();
    for (kind, delta, changes) in [("adjustment", 9, 1), ("sale", -3, 1), ("return", 3, 2)] {
        let own = sums.iter().filter(|sum| sum["kind"] == kind);
        let of = |sum: &Value| {
            (
                sum["delta"].as_i64().unwrap(),
                sum["changes"].as_i64().unwrap(),
            )
        };
        let both = own
            .map(of)
            .reduce(|one, other| (one.0 + other.0, one.1 + other.1));
        assert_eq!(both, Some((delta, changes)), "{kind} in {sums:?}");
    }
    let at = |sum: &Value| sum["at"].as_str().unwrap().ends_with(":00Z");
    assert!(sums.iter().all(at), "{sums:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_held_order_is_confirmed() {
    on_each_store(async |shop| {
        let product = shop.product("p", 9).await;
        let order = json!({"product_id": product, "quantity": 5, "hold_seconds": 60});
        let held = shop.post("/orders/purchase", &order).await;
        let path = held.header("location").replace("/api/v1", "");
        let back = json!({"lines": [{"product_id": product, "quantity": 2}]});
        let part = shop.post(&format!("{path}/cancel"), &back).await;
        assert_eq!((part.status, &part.body["status"]), (200, &json!("held")));
        assert_eq!(part.body["total_price"], "7.50");
        assert_eq!(part.body["held_until"], held.body["held_until"]);
        let history = format!("/products/{product}/stock");
        let took = async || shop.get(&history).await.body["items"][1].clone();
        assert_eq!(took().await["kind"], "hold");
        let confirmed = shop.post(&format!("{path}/confirm"), &Value::Null).await;
        assert_eq!(confirmed.body["status"], "success");
        assert_eq!(confirmed.body["total_price"], "7.50");
        assert_eq!(confirmed.body["lines"], part.body["lines"]);
        let took = took().await;
        assert_eq!(
            (&took["kind"], &took["delta"]),
            (&json!("sale"), &json!(-5))
        );
        let stock = &shop.get(&format!("/products/{product}")).await.body["stock"];
        assert_eq!(*stock, 6);
        assert_eq!(shop.verify().await, []);
    })
    .await;
}

fn path_id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_read_followed_and_cancelled() {
    on_each_store(async |shop| {
        let (a, b) = (shop.product("a", 5).await, shop.product("b", 5).await);
        let lines = json!([
            {"product_id": a, "quantity": 1},
            {"product_id": b, "quantity": 2},
            {"product_id": a, "quantity": 2},
        ]);
        let bought = shop
            .post("/orders/purchase", &json!({"lines": lines}))
            .await;
        assert_eq!(bought.status, 201);
        assert_eq!(bought.body["total_price"], "12.50");
        let path = bought.header("location").replace("/api/v1", "");
        assert_eq!(shop.get(&path).await.body, bought.body);
        let status = shop.get(&format!("{path}/status")).await;
        assert_eq!(status.body["status"], "success");
        assert_eq!(status.body["order_id"], bought.body["id"]);
        for _ in 0..2 {
            let cancelled = shop.post(&format!("{path}/cancel"), &Value::Null).await;
            assert_eq!(
                (cancelled.status, &cancelled.body["status"]),
                (200, &json!("cancelled"))
            );
            assert_eq!(shop.get(&format!("/products/{a}")).await.body["stock"], 5);
        }
        let too_many = shop
            .post("/orders", &json!({"product_id": a, "quantity": 6}))
            .await;
        let failed = shop.decided(&too_many).await;
        assert_eq!(failed["failure"]["code"], "insufficient_stock");
        assert_eq!(
            (
                &failed["failure"]["requested"],
                &failed["failure"]["available"]
            ),
            (&json!(6), &json!(5))
        );
        let path = format!("/orders/{}/cancel", failed["id"].as_str().unwrap());
        let refused = shop.post(&path, &Value::Null).await;
        assert_eq!(refused.status, 409);
        refused.is_problem("order_state");
        let unknown = "/orders/01900000-0000-7000-8000-000000000000";
        shop.get(unknown).await.is_problem("order_not_found");
        shop.post(&format!("{unknown}/cancel"), &Value::Null)
            .await
            .is_problem("order_not_found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_is_a_problem() {
    on_each_store(async |shop| {
        for (method, path, status, code) in [
            ("GET", "/nowhere", 404, "not_found"),
            ("DELETE", "/orders", 405, "method_not_allowed"),
            ("GET", "/products/not-a-uuid", 400, "malformed"),
            ("GET", "/orders/1/status", 400, "malformed"),
        ] {
            let answer = shop.send(method, path, &[], None).await;
            assert_eq!(answer.status, status, "{method} {path}");
            answer.is_problem(code);
        }
        let text = shop.client.post(shop.url("/orders")).body("product=1");
        let answer = Answer::of(text.send().await.unwrap()).await;
        assert_eq!(answer.status, 415);
        answer.is_problem("unsupported_media_type");
        let trailing = shop.get("/products/?page_size=1").await;
        assert_eq!(trailing.status, 200);
        let named = shop
            .send("GET", "/health", &[("x-request-id", "mine-1")], None)
            .await;
        assert_eq!(named.header("x-request-id"), "mine-1");
        assert_eq!(trailing.header("x-request-id").len(), 36);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_bring_all_they_need() {
    on_each_store(async |shop| {
        for path in ["/docs", "/redoc"] {
            let page = shop
                .client
                .get(format!("{}{path}", shop.origin))
                .send()
                .await
                .unwrap();
            assert_eq!(page.status(), 200);
            let html = page.text().await.unwrap();
            for loads in [
                "src=\"http",
                "src='http",
                "rel=\"stylesheet\" href=\"http",
                "fonts.googleapis",
                "cdn.redoc",
            ] {
                assert!(!html.contains(loads), "{path} has {loads}");
            }
        }
        let document = shop
            .client
            .get(format!("{}/openapi.json", shop.origin))
            .send();
        let document: Value = document.await.unwrap().json().await.unwrap();
        let paths = document["paths"].as_object().unwrap();
        for path in [
            "/products",
            "/products/{id}",
            "/orders/purchase",
            "/orders/{id}/cancel",
        ] {
            assert!(
                paths.contains_key(&format!("/api/v1{path}")),
                "{path} is not described"
            );
        }
        for path in [
            "/health",
            "/health/ready",
            "/api/v1/health",
            "/api/v1/health/ready",
        ] {
            let health = shop
                .client
                .get(format!("{}{path}", shop.origin))
                .send()
                .await
                .unwrap();
            assert_eq!(health.status(), 200, "{path}");
        }
    })
    .await;
}

/// What is in flight when the server is told to stop is answered; then it ends.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_is_in_flight() {
    let shop = Shop::open(&PostgresServer::shared().database().await).await;
    let id = shop.product("p", 1_000).await;
    let body = json!({"product_id": id, "quantity": 1});
    let buyers: Vec<_> = (0..50)
        .map(|_| {
            let request = shop.client.post(shop.url("/orders/purchase")).json(&body);
            tokio::spawn(async move { request.send().await.map(|r| r.status().as_u16()) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let store = shop.store().await;
    shop.close().await;
    let mut sold = 0;
    for buyer in buyers {
        match buyer.await.unwrap() {
            Ok(status) => {
                assert_eq!(status, 201);
                sold += 1;
            }
            // Came after the listener was closed.
            Err(error) => assert!(error.is_connect() || error.is_request(), "{error:?}"),
        }
    }
    let stock = store
        .product(id.parse().unwrap())
        .await
        .unwrap()
        .unwrap()
        .stock;
    assert_eq!(stock, 1_000 - sold);
}
