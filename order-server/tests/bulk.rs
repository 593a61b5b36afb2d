//! Many orders in one request: each is judged by itself.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use serde_json::{Value, json};
use shop::on_each_store;

#[tokio::test(flavor = "multi_thread")]
async fn good_orders_stand_beside_bad_ones() {
    on_each_store(async |shop| {
        let id = shop.product("p", 2_500).await;
        let mut orders = vec![json!({"product_id": id, "quantity": 1}); 3_000];
        let nobody = "01900000-0000-7000-8000-000000000000";
        for (at, bad) in [
            (0, json!({"product_id": id, "quantity": 0})),
            (7, json!({"product_id": id, "quantity": 1, "price": 1})),
            (999, json!("x")),
            (1_000, json!({"product_id": nobody, "quantity": 1})),
            (2_999, json!({"lines": []})),
        ] {
            orders[at] = bad;
        }
        let answer = shop.post("/orders/bulk", &json!({"orders": orders})).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.body["accepted"], 2_995);
        assert_eq!(answer.body["rejected"], 5);
        let results = answer.body["results"].as_array().unwrap();
        assert_eq!(results.len(), 3_000);
        for (at, status, field) in [
            (0, 422, json!("quantity")),
            (7, 422, json!("price")),
            (999, 422, json!("body")),
            (1_000, 404, Value::Null),
            (2_999, 422, json!("lines")),
        ] {
            assert_eq!(results[at]["index"], at);
            assert_eq!(results[at]["error"]["status"], status, "{}", results[at]);
            assert_eq!(results[at]["error"]["field"], field, "{}", results[at]);
            assert_eq!(results[at]["order_id"], Value::Null);
        }
        let mut states = Vec::new();
        for at in (1..7).chain(2_990..2_999) {
            let order_id = results[at]["order_id"].as_str().unwrap();
            let order = shop.decided_order(order_id).await;
            states.push(order["status"].as_str().unwrap().to_owned());
        }
        // First come, first served: there are pieces for 2 500 of them.
        assert!(states[..6].iter().all(|state| state == "success"));
        assert!(states[6..].iter().all(|state| state == "failed"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_has_bounds() {
    on_each_store(async |shop| {
        let id = shop.product("p", 20_000).await;
        let one = json!({"product_id": id, "quantity": 1});
        let bulk = |orders: usize| json!({"orders": vec![one.clone(); orders]});
        for (body, status, field) in [
            (json!({"orders": []}), 422, json!("orders")),
            (bulk(10_001), 422, json!("orders")),
            (json!({}), 422, json!("orders")),
            (json!({"orders": 5}), 422, json!("orders")),
            (json!({"orders": [], "order": 1}), 422, json!("order")),
            (json!({"orders": ["x".repeat(8 << 20)]}), 413, Value::Null),
        ] {
            let refused = shop.post("/orders/bulk", &body).await;
            assert_eq!(refused.status, status, "{}", refused.body);
            assert_eq!(refused.header("content-type"), "application/problem+json");
            assert_eq!(refused.body["field"], field, "{}", refused.body);
        }
        let all = shop.post("/orders/bulk", &bulk(10_000)).await;
        assert_eq!(all.body["accepted"], 10_000);
    })
    .await;
}
