//! The server with Redis, and what Redis can do to it.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use order_core::{
    store::PostgresStore,
    testing::{PostgresServer, RedisServer},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use shop::Shop;

/// A read that shows `field` as `value` within `limit`; how long it took.
async fn shows(shop: &Shop, path: &str, field: &str, value: &Value, limit: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let read = shop.get(path).await;
        if read.body[field] == *value {
            return start.elapsed();
        }
        assert!(
            start.elapsed() < limit,
            "{field} is not {value} after {limit:?}: {}",
            read.body
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An entry in the process may end its second between two reads, and not between three.
async fn is_cached(shop: &Shop, path: &str) {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let read = shop.get(&format!("{path}/cached")).await;
        seen.push(read.header("x-cache"));
    }
    assert!(seen.contains(&"hit".to_owned()), "{seen:?}");
}

/// Every kind of change, made through one server, is seen at once there, and within a second
/// through another: with a cache in Redis, and with one in each process.
#[tokio::test(flavor = "multi_thread")]
async fn reads_are_as_new_as_the_last_change() {
    let redis = RedisServer::start();
    for redis_url in [Some(redis.url()), None] {
        let url = PostgresServer::shared().database().await;
        let one = Shop::open_with_redis(&url, redis_url.as_deref()).await;
        let two = Shop::open_with_redis(&url, redis_url.as_deref()).await;
        let id = one.product("p", 100).await;
        let path = format!("/products/{id}");
        let order = json!({"product_id": id, "quantity": 10});
        let second = Duration::from_millis(1_100);
        let mut last_order = String::new();
        for (number, (field, value)) in [
            ("price", json!("3.00")),
            ("stock", json!(90)),
            ("stock", json!(80)),
            ("stock", json!(90)),
            ("stock", json!(95)),
            ("name", json!("new")),
        ]
        .iter()
        .enumerate()
        {
            // Both have it in their cache before it changes.
            for shop in [&one, &two] {
                shop.get(&path).await;
            }
            match number {
                0 => {
                    one.send("PATCH", &path, &[], Some(&json!({"price": 3})))
                        .await
                }
                1 => one.post("/orders/purchase", &order).await,
                2 => {
                    let accepted = one.post("/orders", &order).await;
                    one.decided(&accepted).await;
                    last_order = accepted.header("location").replace("/api/v1", "");
                    accepted
                }
                3 => {
                    one.post(&format!("{last_order}/cancel"), &Value::Null)
                        .await
                }
                4 => {
                    one.post(&format!("{path}/stock"), &json!({"delta": 5}))
                        .await
                }
                _ => {
                    one.send("PUT", &path, &[], Some(&json!({"name": "new", "price": 4})))
                        .await
                }
            };
            // Whichever server's worker decided the order may be the other one.
            let at_once = if number == 2 {
                second
            } else {
                Duration::from_millis(1)
            };
            shows(&one, &path, field, value, at_once).await;
            shows(&two, &path, field, value, second).await;
        }
        is_cached(&one, &path).await;
        let stats = one.get("/health/cache/stats").await.body;
        assert!(stats["hits"].as_u64().unwrap() > 0, "{stats}");
        assert_eq!(one.send("DELETE", &path, &[], None).await.status, 204);
        assert_eq!(one.get(&path).await.status, 404);
        shows(&two, &path, "code", &json!("product_not_found"), second).await;
        one.close().await;
        two.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_redis_the_server_is_degraded_and_sells() {
    let redis = RedisServer::start();
    let shop = Shop::open_with_redis(
        &PostgresServer::shared().database().await,
        Some(&redis.url()),
    )
    .await;
    let id = shop.product("p", 10).await;
    assert_eq!(shop.get("/health/ready").await.body["status"], "ready");
    redis.kill();
    let ready = shop.get("/health/ready").await;
    assert_eq!(
        (ready.status, &ready.body["status"]),
        (200, &json!("degraded"))
    );
    let order = json!({"product_id": id, "quantity": 1});
    assert_eq!(shop.post("/orders/purchase", &order).await.status, 201);
    let accepted = shop.post("/orders", &order).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(shop.decided(&accepted).await["status"], "success");
    let read = shop.get(&format!("/products/{id}")).await;
    assert_eq!(
        (read.header("x-cache"), &read.body["stock"]),
        ("bypass".to_owned(), &json!(8))
    );
    redis.restart();
    for _ in 0..500 {
        if shop.get("/health/ready").await.body["status"] == "ready" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(shop.get("/health/ready").await.body["status"], "ready");
    let accepted = shop.post("/orders", &order).await;
    assert_eq!(shop.decided(&accepted).await["status"], "success");
    shop.close().await;
}

/// A way to Redis that can be cut.
struct Wire {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own_port = listener.local_addr().unwrap().port();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let cut = Arc::clone(&cut);
                tokio::spawn(async move {
                    if cut.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let until_cut = async {
                        while !cut.load(Ordering::SeqCst) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        () = until_cut => {}
                    }
                });
            }
        });
        Self {
            port: own_port,
            is_cut,
        }
    }
}

/// Does everything to Redis that can be done to it, over and over.
async fn torment(
    redis: Arc<RedisServer>,
    is_cut: Arc<AtomicBool>,
    stop: CancellationToken,
) -> usize {
    let mut torments = 0;
    while !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match torments % 4 {
            0 => redis.flush(),
            1 => {
                redis.kill();
                tokio::time::sleep(Duration::from_secs(1)).await;
                let redis = Arc::clone(&redis);
                tokio::task::spawn_blocking(move || redis.restart())
                    .await
                    .unwrap();
            }
            2 => {
                redis.freeze();
                tokio::time::sleep(Duration::from_secs(3)).await;
                redis.thaw();
            }
            _ => {
                is_cut.store(true, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(2)).await;
                is_cut.store(false, Ordering::SeqCst);
            }
        }
        torments += 1;
    }
    torments
}

const ORDERS: usize = 50_000;
const STOCK: i64 = 30_000;

/// 50 000 orders are accepted while Redis loses everything, is killed, hangs and is cut off.
/// Each is decided once, none waits for long, and no request fails because of Redis.
#[tokio::test(flavor = "multi_thread")]
async fn orders_do_not_notice_what_happens_to_redis() {
    let redis = Arc::new(RedisServer::start());
    let wire = Wire::to(redis.port()).await;
    let redis_url = format!("redis://127.0.0.1:{}", wire.port);
    let database_url = PostgresServer::shared().database().await;
    let shop = Arc::new(Shop::open_with_redis(&database_url, Some(&redis_url)).await);
    let id = shop.product("p", STOCK).await;
    let stop = CancellationToken::new();
    let tormenting = tokio::spawn(torment(Arc::clone(&redis), wire.is_cut, stop.clone()));

    let placed = Arc::new(AtomicUsize::new(0));
    let buyers: Vec<_> = (0..64)
        .map(|_| {
            let (shop, placed) = (Arc::clone(&shop), Arc::clone(&placed));
            let (order, product) = (
                json!({"product_id": id, "quantity": 1}),
                format!("/products/{id}"),
            );
            tokio::spawn(async move {
                loop {
                    let number = placed.fetch_add(1, Ordering::Relaxed);
                    if number >= ORDERS {
                        return;
                    }
                    assert_eq!(shop.post("/orders", &order).await.status, 202);
                    if number % 50 == 0 {
                        assert_eq!(shop.get(&product).await.status, 200);
                    }
                }
            })
        })
        .collect();
    for buyer in buyers {
        buyer.await.unwrap();
    }
    stop.cancel();
    let torments = tormenting.await.unwrap();
    assert!(torments >= 4, "only {torments} things happened to Redis");

    let store = PostgresStore::connect(&database_url).await.unwrap();
    let ended = Instant::now();
    let count = async |what: &'static str| -> i64 {
        sqlx::query_scalar(what)
            .fetch_one(store.pool())
            .await
            .unwrap()
    };
    while count("SELECT count(*) FROM orders WHERE status = 'pending'").await > 0 {
        assert!(
            ended.elapsed() < Duration::from_secs(10),
            "orders still wait"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        count("SELECT count(*) FROM orders").await,
        i64::try_from(ORDERS).unwrap()
    );
    assert_eq!(
        count("SELECT count(*) FROM orders WHERE status = 'success'").await,
        STOCK
    );
    let waited =
        "SELECT ceil(extract(epoch FROM max(decided_at - created_at)))::bigint FROM orders";
    let waited = count(waited).await;
    assert!(waited <= 10, "an order waited {waited} s");
    assert_eq!(shop.verify().await, []);
    Arc::into_inner(shop).unwrap().close().await;
}
