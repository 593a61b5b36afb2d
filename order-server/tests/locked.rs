//! A product that somebody at a prompt holds locked: who wants it is told so in time, and nobody else
//! notices.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use order_core::testing::PostgresServer;
use serde_json::json;
use sqlx::{Connection, PgConnection};

use shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn who_buys_a_locked_product_is_told_in_time_and_others_are_sold_at_once() {
    let url = PostgresServer::shared().database().await;
    let shop = Shop::open(&url).await;
    let locked = shop.product("locked", 1_000).await;
    let other = shop.product("other", 1_000_000).await;
    let mut session = PgConnection::connect(&url).await.unwrap();
    let change = "BEGIN; UPDATE products SET price = 1 WHERE name = 'locked'";
    sqlx::raw_sql(change).execute(&mut session).await.unwrap();

    let of = |product: &str| json!({"product_id": product, "quantity": 1});
    let (wanted, free) = (of(&locked), of(&other));
    let start = Instant::now();
    let refused = join_all((0..50).map(|_| shop.post("/orders/purchase", &wanted)));
    let stock = json!({"delta": 1});
    let path = format!("/products/{locked}/stock");
    let adjusted = shop.post(&path, &stock);
    let sold = async {
        while start.elapsed() < Duration::from_secs(9) {
            let bought_at = Instant::now();
            let sold = shop.post("/orders/purchase", &free).await;
            assert_eq!(sold.status, 201, "{}", sold.body);
            let took = bought_at.elapsed();
            assert!(took < Duration::from_secs(1), "took {took:?}");
            let accepted = shop.post("/orders", &free).await;
            assert_eq!(shop.decided(&accepted).await["status"], "success");
        }
    };
    let (refused, adjusted, ()) = tokio::join!(refused, adjusted, sold);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "took {took:?}");
    for answer in refused.iter().chain([&adjusted]) {
        assert_eq!(answer.status, 503);
        answer.is_problem("product_locked");
        assert_eq!(answer.body["product_id"], locked);
        assert_eq!(answer.header("retry-after"), "1");
    }

    sqlx::raw_sql("ROLLBACK")
        .execute(&mut session)
        .await
        .unwrap();
    assert_eq!(shop.post("/orders/purchase", &wanted).await.status, 201);
    assert_eq!(shop.post(&path, &stock).await.status, 200);
    assert_eq!(shop.verify().await, []);
    shop.close().await;
}
