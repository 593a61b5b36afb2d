//! Orders that hold their stock until they are confirmed.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::shop::{Answer, Shop, on_each_store};

const NOBODY: &str = "/orders/01900000-0000-7000-8000-000000000000";

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// The path of an order, from the answer that tells of it.
fn path(order: &Answer) -> String {
    format!("/orders/{}", order.body["id"].as_str().unwrap())
}

async fn stock(shop: &Shop, product: &str) -> Value {
    let product = shop.get(&format!("/products/{product}")).await;
    product.body["stock"].clone()
}

async fn confirm(shop: &Shop, order: &str) -> Answer {
    shop.post(&format!("{order}/confirm"), &Value::Null).await
}

async fn cancel(shop: &Shop, order: &str) -> Answer {
    shop.post(&format!("{order}/cancel"), &Value::Null).await
}

async fn extend(shop: &Shop, order: &str, seconds: i64) -> Answer {
    let body = json!({"hold_seconds": seconds});
    shop.post(&format!("{order}/extend"), &body).await
}

/// Buys at once, and expects the order to be held.
async fn hold(shop: &Shop, product: &str, pieces: i64, seconds: i64) -> Answer {
    let body = json!({"product_id": product, "quantity": pieces, "hold_seconds": seconds});
    let held = shop.post("/orders/purchase", &body).await;
    assert_eq!((held.status, &held.body["status"]), (201, &json!("held")));
    held
}

/// The states that the order's stream tells until it ends.
async fn states(shop: &Shop, order: &str) -> Vec<String> {
    let url = shop.url(&format!("{order}/events"));
    let stream = shop.client.get(url).header("last-event-id", "pending");
    let text = stream.send().await.unwrap().text().await.unwrap();
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_order_is_sold_when_it_is_confirmed() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let held = hold(shop, &product, 2, 600).await;
        let order = path(&held);
        let decided_at = time(&held.body["decided_at"]);
        let held_for = (time(&held.body["held_until"]) - decided_at).num_seconds();
        assert!((598..=660).contains(&held_for), "{}", held.body);
        assert_eq!(held.body["confirmed_at"], Value::Null);
        assert_eq!(stock(shop, &product).await, 3);
        assert_eq!(shop.get(&order).await.body, held.body);
        let status = shop.get(&format!("{order}/status")).await;
        assert_eq!(status.body["status"], "held");
        let listed = shop.get("/orders?status=held").await;
        assert_eq!(listed.body["items"], json!([held.body]));
        let attempts = format!("{order}/attempts");
        assert_eq!(shop.get(&attempts).await.body["task"], Value::Null);

        let dear = json!({"price": "9.99"});
        let product_path = format!("/products/{product}");
        shop.send("PATCH", &product_path, &[], Some(&dear)).await;
        let sold = confirm(shop, &order).await;
        assert_eq!(
            (sold.status, &sold.body["status"]),
            (200, &json!("success"))
        );
        assert_eq!(sold.body["total_price"], "5.00", "as it was accepted");
        assert_eq!(sold.body["held_until"], held.body["held_until"]);
        assert!(time(&sold.body["confirmed_at"]) >= decided_at);
        let again = confirm(shop, &order).await;
        assert_eq!((again.status, &again.body), (200, &sold.body));
        let task = &shop.get(&attempts).await.body["task"];
        assert_eq!(task["state"], "waiting", "its task begins now: {task}");
        let extended = extend(shop, &order, 60).await;
        assert_eq!(extended.status, 409);
        extended.is_problem("order_state");
        assert_eq!(cancel(shop, &order).await.status, 200);
        assert_eq!(states(shop, &order).await, ["held", "success", "cancelled"]);
        assert_eq!(stock(shop, &product).await, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_order_holds() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let one = json!({"product_id": product, "quantity": 1, "hold_seconds": 60});
        let lines = json!({"lines": [{"product_id": product, "quantity": 1}], "hold_seconds": 60});
        let mut orders = Vec::new();
        for (body, header) in [(&one, &[][..]), (&lines, &[("prefer", "wait=20")])] {
            let placed = shop.send("POST", "/orders", header, Some(body)).await;
            assert_eq!(placed.status, if header.is_empty() { 202 } else { 200 });
            if header.is_empty() {
                assert_eq!(placed.body["held_until"], Value::Null, "it is not decided");
            }
            assert_eq!(shop.decided(&placed).await["status"], "held");
            orders.push(path(&placed));
        }
        let plain = json!({"product_id": product, "quantity": 1});
        let bulk = json!({"orders": [one, plain, lines, {
            "product_id": product, "quantity": 1, "hold_seconds": 86_401
        }]});
        let bulk = shop.post("/orders/bulk", &bulk).await;
        let results = &bulk.body["results"];
        assert_eq!(results[3]["error"]["field"], "hold_seconds");
        for (at, status) in [(0, "held"), (1, "success"), (2, "held")] {
            let id = results[at]["order_id"].as_str().unwrap();
            assert_eq!(shop.decided_order(id).await["status"], status);
            if status == "held" {
                orders.push(format!("/orders/{id}"));
            }
        }
        assert_eq!(stock(shop, &product).await, 0);
        for (index, order) in orders.iter().enumerate() {
            let ended = match index % 2 {
                0 => confirm(shop, order).await,
                _ => cancel(shop, order).await,
            };
            assert_eq!(ended.status, 200, "{}", ended.body);
            let returned = i64::try_from(index.div_ceil(2)).unwrap();
            assert_eq!(stock(shop, &product).await, returned);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_held_is_confirmed_or_extended() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let cancelled = path(&hold(shop, &product, 5, 60).await);
        for _ in 0..2 {
            let answer = cancel(shop, &cancelled).await;
            let told = (answer.status, &answer.body["status"]);
            assert_eq!(told, (200, &json!("cancelled")));
            assert_eq!(stock(shop, &product).await, 5);
        }
        assert_eq!(states(shop, &cancelled).await, ["held", "cancelled"]);
        let plain = json!({"product_id": product, "quantity": 1});
        let sold = path(&shop.post("/orders/purchase", &plain).await);
        let much = json!({"product_id": product, "quantity": 9, "hold_seconds": 60});
        let failed = shop.post("/orders", &much).await;
        assert_eq!(shop.decided(&failed).await["status"], "failed");
        for order in [&cancelled, &sold, &path(&failed)] {
            for refused in [confirm(shop, order).await, extend(shop, order, 60).await] {
                assert_eq!(refused.status, 409, "{}", refused.body);
                refused.is_problem("order_state");
            }
        }
        for unknown in [
            confirm(shop, NOBODY).await,
            extend(shop, NOBODY, 60).await,
            cancel(shop, NOBODY).await,
        ] {
            assert_eq!(unknown.status, 404);
            unknown.is_problem("order_not_found");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_extended_up_to_a_day() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let held = hold(shop, &product, 1, 600).await;
        let order = path(&held);
        let shorter = extend(shop, &order, 1).await;
        assert_eq!((shorter.status, &shorter.body), (200, &held.body));
        let longer = extend(shop, &order, 3_600).await;
        let held_for = time(&longer.body["held_until"]) - time(&held.body["decided_at"]);
        assert!((3_598..=3_660).contains(&held_for.num_seconds()));
        assert_eq!(shop.get(&order).await.body, longer.body);
        for seconds in [86_400, 86_401, 0, -1] {
            let refused = extend(shop, &order, seconds).await;
            assert_eq!(refused.status, 422, "{seconds}: {}", refused.body);
            assert_eq!(refused.body["field"], "hold_seconds");
        }
        for (body, status, field) in [
            ("{}", 422, json!("hold_seconds")),
            (r#"{"hold_seconds":"1"}"#, 422, json!("hold_seconds")),
            (r#"{"hold_seconds":1.5}"#, 422, json!("hold_seconds")),
            (r#"{"hold_seconds":9,"until":1}"#, 422, json!("until")),
            ("[60]", 422, json!("body")),
            ("", 400, Value::Null),
        ] {
            let refused = shop.post_text(&format!("{order}/extend"), body).await;
            let told = (refused.status, &refused.body["field"]);
            assert_eq!(told, (status, &field), "{body}: {}", refused.body);
        }
        assert_eq!(shop.get(&order).await.body, longer.body);
        assert_eq!(confirm(shop, &order).await.status, 200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_nobody_confirms_expires() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let held = hold(shop, &product, 5, 3).await;
        let order = path(&held);
        let wanted = json!({"product_id": product, "quantity": 1});
        let refused = shop.post("/orders/purchase", &wanted).await;
        refused.is_problem("insufficient_stock");
        assert_eq!(states(shop, &order).await, ["held", "expired"]);
        let expired = shop.get(&order).await.body;
        assert_eq!(expired["status"], "expired");
        assert_eq!(expired["held_until"], held.body["held_until"]);
        assert_eq!(stock(shop, &product).await, 5);
        for refused in [confirm(shop, &order).await, extend(shop, &order, 60).await] {
            assert_eq!(refused.status, 409, "{}", refused.body);
            refused.is_problem("hold_expired");
            assert_eq!(refused.body["held_until"], held.body["held_until"]);
        }
        let refused = cancel(shop, &order).await;
        assert_eq!(refused.status, 409);
        refused.is_problem("order_state");
        let bought = shop.post("/orders/purchase", &wanted).await;
        assert_eq!(bought.status, 201);
        let totals = shop.get("/stats").await.body["totals"].clone();
        assert_eq!(
            (&totals["expired"], &totals["held"]),
            (&json!(1), &json!(0))
        );
    })
    .await;
}

/// The same key with another hold is another request.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_repeated_by_its_key() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let buy = async |seconds: Value, customer: &str| {
            let body = json!({
                "product_id": product, "quantity": 1, "hold_seconds": seconds, "customer": customer,
            });
            let headers = [("idempotency-key", "k")];
            shop.send("POST", "/orders/purchase", &headers, Some(&body))
                .await
        };
        let first = buy(json!(60), "ann").await;
        assert_eq!(first.body["status"], "held");
        let again = buy(json!(60), "ann").await;
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_eq!(again.body, first.body);
        for other in [
            buy(json!(61), "ann").await,
            buy(Value::Null, "ann").await,
            buy(json!(60), "bob").await,
        ] {
            assert_eq!(other.status, 422);
            other.is_problem("idempotency_key_reused");
        }
        assert_eq!(stock(shop, &product).await, 4);
    })
    .await;
}
