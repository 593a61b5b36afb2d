//! A product that somebody at a prompt holds locked: who wants it is told so in time, and nobody else
//! notices. Nor does anybody when the whole catalogue is.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use order_core::{
    OrderService,
    keys::{KeyRequest, Scope},
    store,
    testing::PostgresServer,
};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::{sync::mpsc, task::JoinSet};

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

/// Searches that take long wait among themselves: other reads are answered in a second meanwhile,
/// and a revoked key is refused in five.
#[tokio::test(flavor = "multi_thread")]
async fn slow_searches_hold_up_neither_other_reads_nor_keys() {
    let url = PostgresServer::shared().database().await;
    let store = store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let operator = OrderService::builder(store).build();
    let key = async || {
        let request = KeyRequest::new("key", [Scope::Admin].into_iter().collect()).unwrap();
        operator.create_key(request).await.unwrap()
    };
    let ((_, admin), (revoked, secret)) = (key().await, key().await);
    let (admin, secret) = (admin.expose().to_owned(), secret.expose().to_owned());
    let shop = Shop::open(&url).await;
    let get = |path: &str, secret: &str| shop.client.get(shop.url(path)).bearer_auth(secret).send();
    let mut session = PgConnection::connect(&url).await.unwrap();
    let reads = match std::env::var("SOAK_PRODUCTS") {
        Ok(products) => {
            let make = format!(
                "INSERT INTO products (id, name, price, stock, created_at, updated_at)
                 SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid, 'Lamp ' || n, 1, 0, now(), now()
                 FROM generate_series(1, {products}) n; ANALYZE products"
            );
            let make = sqlx::raw_sql(sqlx::AssertSqlSafe(make));
            make.execute(&mut session).await.unwrap();
            300
        }
        // Each waits for this lock as long as a statement may, again and again.
        Err(_) => {
            let lock = "BEGIN; LOCK TABLE products IN ACCESS EXCLUSIVE MODE";
            sqlx::raw_sql(lock).execute(&mut session).await.unwrap();
            10
        }
    };
    let mut searching = JoinSet::new();
    let (answered, mut first_answers) = mpsc::channel(1);
    for _ in 0..120 {
        let (client, url, admin) = (
            shop.client.clone(),
            shop.url("/products?search=lamp&page=100&page_size=100"),
            admin.clone(),
        );
        let answered = answered.clone();
        searching.spawn(async move {
            loop {
                let _ = client.get(&url).bearer_auth(&admin).send().await;
                let _ = answered.try_send(());
            }
        });
    }
    first_answers.recv().await.unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..reads {
        let asked_at = Instant::now();
        let orders = get("/orders", &admin).await.unwrap();
        let took = asked_at.elapsed();
        assert_eq!(orders.status(), 200);
        assert!(took < Duration::from_secs(1), "took {took:?}");
        slowest = slowest.max(took);
    }
    assert_eq!(get("/orders", &secret).await.unwrap().status(), 200);
    operator.revoke_key(revoked.id).await.unwrap();
    let revoked_at = Instant::now();
    while get("/orders", &secret).await.unwrap().status() != 401 {
        let lives = revoked_at.elapsed();
        assert!(lives < Duration::from_secs(5), "lives {lives:?}");
    }
    let lived = revoked_at.elapsed();
    println!("the slowest of {reads} reads took {slowest:?}, a revoked key lived {lived:?}");
    searching.shutdown().await;
    shop.close().await;
}
