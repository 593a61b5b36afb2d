//! `If-Match` and `If-None-Match`.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use order_server::config::HttpLimits;
use serde_json::{Value, json};

use crate::shop::{self, Answer, Shop};

/// A request with several lines of `If-Match` or `If-None-Match`.
async fn with_lines(shop: &Shop, method: &str, path: &str, lines: &[(&str, &str)]) -> Answer {
    let body = match (method, path.ends_with("/stock")) {
        ("PUT", _) => json!({"name": "p", "price": 1}),
        ("PATCH", _) => json!({"stock": 7}),
        ("POST", true) => json!({"delta": 1}),
        _ => Value::Null,
    };
    let body = (!body.is_null()).then_some(&body);
    shop.send(method, path, lines, body).await
}

/// RFC 9110 §13.1.1: tags are compared strongly, one of the list is enough, and `*` is any version.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_only_to_the_versions_that_are_named() {
    shop::on_each_store(async |shop| {
        for (method, below) in [
            ("PUT", ""),
            ("PATCH", ""),
            ("POST", "/stock"),
            ("DELETE", ""),
        ] {
            for (lines, status) in [
                (&["\"999\""][..], 412),
                (&["W/\"1\""], 412),
                (&["W/\"1\", \"2\""], 412),
                (&["\"abc\""], 412),
                (&["\"a,b\""], 412),
                (&["\"+1\""], 412),
                (&["\"01\""], 412),
                (&["1"], 400),
                (&["\"1"], 400),
                (&["w/\"1\""], 400),
                (&["\"1\" \"2\""], 400),
                (&["*, \"1\""], 400),
                (&["\"1\""], 200),
                (&["\"999\", \"1\""], 200),
                (&["\"a,b\" ,,W/\"1\",\"1\""], 200),
                (&["\"999\"", "\"1\""], 200),
                (&["*"], 200),
                (&[], 200),
            ] {
                let id = shop.product("p", 5).await;
                let path = format!("/products/{id}{below}");
                let lines: Vec<_> = lines.iter().map(|line| ("if-match", *line)).collect();
                let answer = with_lines(shop, method, &path, &lines).await;
                let told = format!("{method} {lines:?}: {}", answer.body);
                let now = shop.get(&format!("/products/{id}")).await;
                match status {
                    200 => assert!([200, 204].contains(&answer.status), "{told}"),
                    _ => {
                        assert_eq!(answer.status, status, "{told}");
                        assert_eq!(
                            (now.status, &now.body["version"]),
                            (200, &json!(1)),
                            "{told}"
                        );
                    }
                }
                match status {
                    412 => answer.is_problem("version_mismatch"),
                    400 => answer.is_problem("malformed"),
                    _ => {}
                }
            }
        }
    })
    .await;
}

/// A change of an order: the end of its path, and the body.
type Change<'a> = (&'a str, Option<&'a Value>);

/// An order that is bought and `touched` is changed only at the versions that are named.
async fn is_changed_only_as_it_was_seen(
    shop: &Shop,
    buy: &Value,
    touched: Change<'_>,
    change: Change<'_>,
) {
    for (lines, status) in [
        (&["\"0000000000000000\""][..], 412),
        (&["W/TAG"], 412),
        (&["W/TAG, \"1\""], 412),
        (&["\"1\""], 412),
        (&["OLD"], 412),
        (&["1"], 400),
        (&["TAG"], 200),
        (&["OLD, W/TAG ,,TAG"], 200),
        (&["OLD", "TAG"], 200),
        (&["*"], 200),
        (&[], 200),
    ] {
        let bought = shop.post("/orders/purchase", buy).await;
        let path = format!("/orders/{}", bought.body["id"].as_str().unwrap());
        let below = |(end, _): Change<'_>| format!("{path}/{end}");
        let now = shop.send("POST", &below(touched), &[], touched.1).await;
        let (old, tag) = (bought.header("etag"), now.header("etag"));
        let (read, told) = (shop.get(&path).await, format!("{} {lines:?}", change.0));
        assert_eq!(
            (read.header("etag"), old == tag),
            (tag.clone(), false),
            "{told}"
        );
        let lines = lines
            .iter()
            .map(|l| l.replace("TAG", &tag).replace("OLD", &old));
        let lines: Vec<String> = lines.collect();
        let lines: Vec<_> = lines.iter().map(|line| ("if-match", &**line)).collect();
        let answer = shop.send("POST", &below(change), &lines, change.1).await;
        assert_eq!(answer.status, status, "{told}: {}", answer.body);
        let after = shop.get(&path).await;
        assert_eq!(after.body == read.body, status != 200, "{told}");
        assert_eq!(after.header("etag") == tag, status != 200, "{told}");
        match status {
            412 => answer.is_problem("version_mismatch"),
            400 => answer.is_problem("malformed"),
            _ => assert_eq!(answer.header("etag"), after.header("etag"), "{told}"),
        }
    }
}

/// The same holds for an order, whose tag stands in every answer that tells of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_only_at_the_versions_that_are_named() {
    shop::on_each_store(async |shop| {
        let product = shop.product("p", 9_000).await;
        let buy = json!({"product_id": product, "quantity": 3});
        let part = json!({"lines": [{"product_id": product, "quantity": 1}]});
        let touched = ("cancel", Some(&part));
        for body in [None, Some(&part)] {
            is_changed_only_as_it_was_seen(shop, &buy, touched, ("cancel", body)).await;
        }
        for below in ["cancel", "confirm", "extend"] {
            let nowhere = format!("/orders/{}/{below}", uuid::Uuid::nil());
            let body = (below == "extend").then(|| json!({"hold_seconds": 60}));
            for tag in ["\"0000000000000000\"", "W/\"1\""] {
                let headers = [("if-match", tag)];
                let answer = shop.send("POST", &nowhere, &headers, body.as_ref()).await;
                answer.is_problem("order_not_found");
            }
        }
    })
    .await;
}

/// And for a hold that is confirmed or extended.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_changed_only_at_the_versions_that_are_named() {
    shop::on_each_store(async |shop| {
        let product = shop.product("p", 9_000).await;
        let buy = json!({"product_id": product, "quantity": 3, "hold_seconds": 60});
        let (seen, longer) = (json!({"hold_seconds": 300}), json!({"hold_seconds": 600}));
        let touched = ("extend", Some(&seen));
        for change in [("confirm", None), ("extend", Some(&longer))] {
            is_changed_only_as_it_was_seen(shop, &buy, touched, change).await;
        }
    })
    .await;
}

/// §13.1.2: what a client has is compared weakly, over all lines.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_is_not_sent_again() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let path = format!("/products/{}", shop.product("p", 5).await);
    for (lines, status) in [
        (&["\"1\""][..], 304),
        (&["W/\"1\""], 304),
        (&["\"9\"", "\"1\""], 304),
        (&["\"9\", W/\"1\""], 304),
        (&["*"], 304),
        (&["\"9\""], 200),
        (&["\"a,\"", "\"2\""], 200),
        (&["1"], 400),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
        let answer = with_lines(&shop, "GET", &path, &lines).await;
        assert_eq!(answer.status, status, "{lines:?}");
        if status == 304 {
            assert_eq!(answer.header("etag"), "\"1\"");
        }
    }
    let weak = with_lines(&shop, "PUT", &path, &[("if-match", "W/\"1\"")]).await;
    let told = weak.body["detail"].as_str().unwrap();
    assert!(told.contains("weak") && told.contains("version"), "{told}");
    let buy = json!({"product_id": shop.product("p", 5).await, "quantity": 1});
    let placed = shop.post("/orders/purchase", &buy).await;
    let (path, tag) = (placed.header("location"), placed.header("etag"));
    let path = path.strip_prefix("/api/v1").unwrap();
    for (tag, status) in [
        (&*tag, 304),
        (&*format!("\"9\", W/{tag}"), 304),
        ("*", 304),
        ("\"9\"", 200),
        ("9", 400),
    ] {
        let answer = with_lines(&shop, "GET", path, &[("if-none-match", tag)]).await;
        assert_eq!(answer.status, status, "{tag}");
    }
    shop.close().await;
}
