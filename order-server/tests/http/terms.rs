//! The terms on which products are sold: limits per customer, and windows.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use order_core::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::shop::{Shop, on_each_store};

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// A time so long from now, to the millisecond.
fn at(from_now: TimeDelta) -> String {
    let at = SystemClock.now() + from_now;
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A product at 2.50, sold on these terms.
async fn product_on(shop: &Shop, mut terms: Value) -> String {
    for (name, value) in [
        ("name", json!("p")),
        ("price", json!("2.50")),
        ("stock", json!(100)),
    ] {
        terms[name] = value;
    }
    let created = shop.post("/products", &terms).await;
    assert_eq!(created.status, 201, "{}", created.body);
    for (name, value) in terms.as_object().unwrap() {
        if name.starts_with("on_sale") {
            assert_eq!(time(&created.body[name]), time(value));
        } else {
            assert_eq!(created.body[name], *value);
        }
    }
    created.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_has_no_more_than_the_limit() {
    on_each_store(async |shop| {
        let product = product_on(shop, json!({"limit_per_customer": 2})).await;
        let order = |customer: Value, pieces: i64, hold: Value| {
            json!({
                "product_id": product, "quantity": pieces, "customer": customer,
                "hold_seconds": hold,
            })
        };
        let nobody = order(Value::Null, 1, Value::Null);
        for way in ["/orders", "/orders/purchase"] {
            let refused = shop.post(way, &nobody).await;
            assert_eq!(refused.status, 422);
            assert_eq!(refused.body["field"], "customer", "{}", refused.body);
        }
        let bulk = shop
            .post("/orders/bulk", &json!({"orders": [nobody]}))
            .await;
        assert_eq!(bulk.body["results"][0]["error"]["field"], "customer");

        let held = order(json!("ann"), 2, json!(600));
        let held = shop.post("/orders/purchase", &held).await;
        assert_eq!(held.body["customer"], "ann");
        let more = order(json!("ann"), 1, Value::Null);
        let refused = shop.post("/orders/purchase", &more).await;
        assert_eq!(refused.status, 409);
        refused.is_problem("customer_limit");
        let failed = shop.post("/orders", &more).await;
        let failed = shop.decided(&failed).await;
        assert_eq!(failed["failure"]["code"], "customer_limit");
        for told in [&refused.body, &failed["failure"]] {
            for (field, value) in [
                ("product_id", json!(product)),
                ("requested", json!(1)),
                ("limit", json!(2)),
                ("has", json!(2)),
                ("held_order", held.body["id"].clone()),
            ] {
                assert_eq!(told[field], value, "{told}");
            }
        }
        let other = order(json!("bob"), 2, Value::Null);
        assert_eq!(shop.post("/orders/purchase", &other).await.status, 201);
        let named = shop.get("/orders?customer=ann&status=held&page=1").await;
        assert_eq!(named.body["total"], 1);
        // What she held is offered back: she may confirm it, or leave it.
        let cancel = format!("/orders/{}/cancel", held.body["id"].as_str().unwrap());
        assert_eq!(shop.post(&cancel, &Value::Null).await.status, 200);
        assert_eq!(shop.post("/orders/purchase", &more).await.status, 201);
        assert_eq!(shop.post("/orders/purchase", &more).await.status, 201);
        let refused = shop.post("/orders/purchase", &more).await;
        refused.is_problem("customer_limit");
        assert_eq!(refused.body["held_order"], Value::Null, "nothing is held");
        let path = format!("/products/{product}");
        let open = json!({"limit_per_customer": null});
        let open = shop.send("PATCH", &path, &[], Some(&open)).await;
        assert_eq!(open.body["limit_per_customer"], Value::Null);
        let many = order(Value::Null, 90, Value::Null);
        assert_eq!(shop.post("/orders/purchase", &many).await.status, 201);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_sold_within_its_window() {
    on_each_store(async |shop| {
        let (from, until) = (at(TimeDelta::hours(1)), at(TimeDelta::hours(2)));
        let early = product_on(shop, json!({"on_sale_from": from, "on_sale_until": until})).await;
        let past = at(TimeDelta::hours(-1));
        let late = product_on(shop, json!({"on_sale_until": past})).await;
        for (product, from, until) in [
            (&early, json!(from), json!(until)),
            (&late, Value::Null, json!(past)),
        ] {
            let order = json!({"product_id": product, "quantity": 1});
            let refused = shop.post("/orders/purchase", &order).await;
            assert_eq!(refused.status, 409);
            refused.is_problem("not_on_sale");
            let failed = shop.post("/orders", &order).await;
            let failed = shop.decided(&failed).await;
            assert_eq!(failed["failure"]["code"], "not_on_sale");
            for told in [&refused.body, &failed["failure"]] {
                assert_eq!(told["product_id"], json!(product));
                for (field, when) in [("on_sale_from", &from), ("on_sale_until", &until)] {
                    let same = match when {
                        Value::Null => told[field].is_null(),
                        when => time(&told[field]) == time(when),
                    };
                    assert!(same, "{field} in {told}");
                }
            }
        }
        for (product, change) in [
            (&early, json!({"on_sale_from": at(TimeDelta::hours(-2))})),
            (&late, json!({"on_sale_until": null})),
        ] {
            let path = format!("/products/{product}");
            let changed = shop.send("PATCH", &path, &[], Some(&change)).await;
            assert_eq!(changed.status, 200, "{}", changed.body);
            let order = json!({"product_id": product, "quantity": 1});
            assert_eq!(shop.post("/orders/purchase", &order).await.status, 201);
        }
    })
    .await;
}

/// Terms that make no sense, of a product that is created, replaced and changed.
#[tokio::test(flavor = "multi_thread")]
async fn bad_terms_name_the_field() {
    on_each_store(async |shop| {
        let now = at(TimeDelta::zero());
        let product = product_on(shop, json!({"on_sale_from": now})).await;
        let path = format!("/products/{product}");
        let before = shop.get(&path).await.body;
        let early = at(TimeDelta::hours(-1));
        for (field, terms) in [
            ("limit_per_customer", json!({"limit_per_customer": 0})),
            (
                "limit_per_customer",
                json!({"limit_per_customer": 1_000_001}),
            ),
            ("limit_per_customer", json!({"limit_per_customer": "2"})),
            ("on_sale_from", json!({"on_sale_from": "tomorrow"})),
            ("on_sale_until", json!({"on_sale_until": 5})),
            (
                "on_sale_until",
                json!({"on_sale_from": now, "on_sale_until": early}),
            ),
            (
                "on_sale_until",
                json!({"on_sale_from": now, "on_sale_until": now}),
            ),
        ] {
            let mut whole = json!({"name": "n", "price": 1});
            for (name, value) in terms.as_object().unwrap() {
                whole[name] = value.clone();
            }
            let mut new = whole.clone();
            new["stock"] = json!(1);
            for (method, path, body) in [
                ("POST", "/products", &new),
                ("PUT", &path, &whole),
                ("PATCH", &path, &terms),
            ] {
                let refused = shop.send(method, path, &[], Some(body)).await;
                let told = (refused.status, &refused.body["field"]);
                assert_eq!(
                    told,
                    (422, &json!(field)),
                    "{method} {terms}: {}",
                    refused.body
                );
            }
        }
        // The window that would be is judged, also when only one of its ends changes.
        let patch = json!({"on_sale_until": early});
        let refused = shop.send("PATCH", &path, &[], Some(&patch)).await;
        assert_eq!(refused.body["field"], "on_sale_until");
        assert_eq!(shop.get(&path).await.body, before);
    })
    .await;
}
