//! What is in a list, and in which order.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use serde_json::{Value, json};

use crate::shop::{Shop, on_each_store};

/// The ids of a whole list, page by page.
async fn listed(shop: &Shop, query: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = shop.get(&format!("{query}&page_size=2{cursor}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        let items = page.body["items"].as_array().unwrap().iter();
        ids.extend(items.map(|item| text(&item["id"])));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Expects each query to leave those that are numbered, newest first.
async fn each_leaves(shop: &Shop, path: &str, made: &[String], queries: &[(String, &[usize])]) {
    for (query, left) in queries {
        let left: Vec<_> = left.iter().map(|number| made[*number].clone()).collect();
        assert_eq!(
            listed(shop, &format!("{path}?{query}")).await,
            left,
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines)] // Most of them are cases.
async fn each_parameter_of_a_list_leaves_what_it_says() {
    on_each_store(async |shop| {
        let (mut products, mut times) = (Vec::new(), Vec::new());
        for (name, price, stock, sku) in [
            ("Lamp", "1", 0, json!("A")),
            ("Chair", "2.50", 3, Value::Null),
            ("Blue lamp", "9", 5, json!("C")),
        ] {
            let product = json!({"name": name, "price": price, "stock": stock, "sku": sku});
            let created = shop.post("/products", &product).await;
            products.push(text(&created.body["id"]));
            times.push(text(&created.body["created_at"]));
        }
        let ids = format!("ids={},{}", products[0], products[2]);
        let (after, before) = (
            format!("created_after={}", times[1]),
            format!("created_before={}", times[1]),
        );
        let queries: [(String, &[usize]); 13] = [
            ("search=LAMP".into(), &[2, 0]),
            ("sku=A".into(), &[0]),
            ("sku=a".into(), &[]),
            (format!("{ids}&in_stock=true"), &[2]),
            (ids, &[2, 0]),
            ("min_price=2.50".into(), &[2, 1]),
            ("max_price=2.5".into(), &[1, 0]),
            ("min_price=2&max_price=3".into(), &[1]),
            ("in_stock=true".into(), &[2, 1]),
            ("in_stock=false".into(), &[0]),
            (format!("{after}&{before}"), &[]),
            (after, &[2, 1]),
            (before, &[0]),
        ];
        each_leaves(shop, "/products", &products, &queries).await;

        let (mut orders, mut times) = (Vec::new(), Vec::new());
        for (product, reference, customer) in [(1, "r", "ada"), (2, "s", "bob"), (1, "r", "bob")] {
            let buy = json!({"product_id": products[product], "quantity": 1,
                             "reference": reference, "customer": customer});
            let bought = shop.post("/orders/purchase", &buy).await;
            orders.push(text(&bought.body["id"]));
            times.push(text(&bought.body["created_at"]));
        }
        let cancel = format!("/orders/{}/cancel", orders[0]);
        assert_eq!(shop.post(&cancel, &Value::Null).await.status, 200);
        let (after, before) = (
            format!("created_after={}", times[1]),
            format!("created_before={}", times[1]),
        );
        let queries: [(String, &[usize]); 9] = [
            ("status=cancelled".into(), &[0]),
            (format!("product_id={}", products[1]), &[2, 0]),
            (format!("product_id={}&status=cancelled", products[1]), &[0]),
            ("reference=r".into(), &[2, 0]),
            ("customer=bob".into(), &[2, 1]),
            ("customer=bob&reference=r".into(), &[2]),
            // On a server without keys, no client placed them.
            (format!("client={}", products[0]), &[]),
            (after, &[2, 1]),
            (before, &[0]),
        ];
        each_leaves(shop, "/orders", &orders, &queries).await;

        let many = format!("ids={}", vec![&*products[0]; 101].join(","));
        for (path, query) in [
            ("/products", "ids=x"),
            ("/products", "ids="),
            ("/products", &many),
            ("/products", "min_price=dear"),
            ("/products", "max_price=-1"),
            ("/products", "in_stock=maybe"),
            ("/products", "created_after=yesterday"),
            ("/orders", "created_before=1700000000"),
            ("/orders", "client=me"),
            ("/orders", "product_id=1"),
        ] {
            let refused = shop.get(&format!("{path}?{query}")).await;
            let field = query.split('=').next().unwrap();
            assert_eq!(
                (refused.status, &refused.body["field"]),
                (422, &json!(field)),
                "{query}"
            );
        }
    })
    .await;
}

/// The same list from its other end, and no cursor leads from one order into the other.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines)] // Most of them are cases.
async fn lists_are_sorted_as_they_are_asked_for() {
    on_each_store(async |shop| {
        let mut products = Vec::new();
        for number in 0..5 {
            products.push(shop.product(&format!("p {number}"), 9).await);
        }
        let mut orders = Vec::new();
        for _ in 0..5 {
            let buy = json!({"product_id": products[0], "quantity": 1});
            let bought = shop.post("/orders/purchase", &buy).await;
            orders.push(text(&bought.body["id"]));
        }
        let of_first = format!("product_id={}", products[0]);
        for (path, made, filters) in [
            (
                "/products",
                products,
                ["", "search=P", "max_price=5", "in_stock=true"],
            ),
            (
                "/orders",
                orders,
                [
                    "",
                    "status=success",
                    &of_first,
                    "created_after=2000-01-01T00:00:00Z",
                ],
            ),
        ] {
            let mut newest_first = made.clone();
            newest_first.reverse();
            for filter in filters {
                for (sort, expected) in [
                    ("", &newest_first),
                    ("&sort=newest", &newest_first),
                    ("&sort=oldest", &made),
                ] {
                    let query = format!("{path}?{filter}{sort}");
                    assert_eq!(listed(shop, &query).await, *expected, "{query}");
                }
            }
            let by_number = shop
                .get(&format!("{path}?sort=oldest&page_size=2&page=2"))
                .await;
            let ids = by_number.body["items"].as_array().unwrap().iter();
            assert!(
                ids.map(|item| &item["id"]).eq(&made[2..4]),
                "{}",
                by_number.body
            );
            assert_eq!(by_number.body["total"], 5);
            for [of, other] in [["newest", "oldest"], ["oldest", "newest"]] {
                let page = shop.get(&format!("{path}?sort={of}&page_size=2")).await;
                let cursor = page.body["next_cursor"].as_str().unwrap();
                let refused = shop
                    .get(&format!("{path}?sort={other}&cursor={cursor}"))
                    .await;
                assert_eq!(
                    (refused.status, &refused.body["field"]),
                    (422, &json!("cursor"))
                );
                let told = format!("cursor is of the order {of}, and not {other}");
                assert_eq!(refused.body["detail"], told);
            }
            for bad in ["", "id", "-created_at", "price", "Newest", "newest,oldest"] {
                let refused = shop.get(&format!("{path}?sort={bad}")).await;
                assert_eq!(
                    (refused.status, &refused.body["field"]),
                    (422, &json!("sort")),
                    "{bad}"
                );
                assert_eq!(
                    refused.body["detail"], "sort must be one of newest, oldest",
                    "{bad}"
                );
            }
        }
    })
    .await;
}
