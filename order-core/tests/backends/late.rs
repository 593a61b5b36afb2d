//! A statement that reaches the database long after its client gave it up, and the price and the
//! stock that change between looking at a product and selling it.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use order_core::{
    Error,
    cache::{CacheStatus, CachedStore, ProductCache, RedisCache},
    clock::{Clock, SystemClock},
    domain::{AdjustmentId, IdempotencyKey, Product, ProductChange},
    store::{ConnectOptions, OrderStore, PostgresStore, ProductStore, Selection, Store, Strategy},
    testing::{PostgresServer, RedisServer},
};
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use uuid::Uuid;

use crate::shop::{Shop, shop};

impl Shop {
    async fn set_stock(&self, stock: i64) {
        let change = ProductChange::default().stock(stock).unwrap();
        let (id, now) = (
            AdjustmentId(self.ids.next(SystemClock.now())),
            SystemClock.now(),
        );
        let set = self.store.update_product(self.product, &change, id, now);
        set.await.unwrap();
    }

    async fn product(&self) -> Product {
        self.store.product(self.product).await.unwrap().unwrap()
    }
}

/// Holds a message back.
#[derive(Default)]
struct Wire {
    /// The number of messages that execute something, up to the one that is held back; 0: none is.
    /// Connections also say things of their own, at times of their own.
    countdown: AtomicI64,
    /// Cuts new connections at once.
    is_away: AtomicBool,
    is_held: Notify,
    /// The client is cut off.
    cut: Notify,
    /// The message arrives after all.
    deliver: Notify,
    is_answered: Notify,
}

/// How a message begins that prepares a statement, that executes it, and that is a statement.
const PARSE: u8 = b'P';
const BIND: u8 = b'B';
const QUERY: u8 = b'Q';
/// What a connection says by itself when an answer of its neighbour does not come.
const WATCHES: &[u8] = b"pg_backend_pid";

/// A TCP proxy to `port`: what one read gives is one message, as the driver writes it.
async fn wire_to(port: u16) -> (u16, Arc<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let wire = Arc::<Wire>::default();
    let of_all = Arc::clone(&wire);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if of_all.is_away.load(Ordering::SeqCst) {
                continue;
            }
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(carry(client, server, Arc::clone(&of_all)));
        }
    });
    (own_port, wire)
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    wire: Arc<Wire>,
) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            sent = client.read(&mut up) => {
                let sent = sent?;
                if sent == 0 {
                    return Ok(());
                }
                let watches = up[..sent].windows(WATCHES.len()).any(|part| part == WATCHES);
                let is_counted = matches!(up[0], PARSE | BIND | QUERY) && !watches;
                if is_counted && wire.countdown.fetch_sub(1, Ordering::SeqCst) == 1 {
                    wire.is_held.notify_one();
                    wire.cut.notified().await;
                    drop(client);
                    wire.deliver.notified().await;
                    server.write_all(&up[..sent]).await?;
                    let _ = server.read(&mut down).await?;
                    wire.is_answered.notify_one();
                    return Ok(());
                }
                server.write_all(&up[..sent]).await?;
            }
            answered = server.read(&mut down) => {
                let answered = answered?;
                if answered == 0 {
                    return Ok(());
                }
                client.write_all(&down[..answered]).await?;
            }
        }
    }
}

/// What was refused stays refused, whatever the stock is by the time that the statement of an
/// earlier attempt arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_comes_late_sells_nothing() {
    let shop = shop(1).await;
    let port = PostgresServer::shared().port();
    let (own_port, wire) = wire_to(port).await;
    let through = shop
        .url
        .replace(&format!(":{port}/"), &format!(":{own_port}/"));
    let mut doubted = 0;
    for message in 1..=6 {
        let options = ConnectOptions::default().with_max_connections(1);
        let store = PostgresStore::connect_with(&through, options)
            .await
            .unwrap();
        let order = shop.new_order();
        let id = order.id();
        wire.countdown.store(message, Ordering::SeqCst);
        let purchase = async move {
            let outcome = store.purchase(&[order], Strategy::Batch).await.unwrap();
            outcome.results.into_iter().next().unwrap()
        };
        let mut purchase = tokio::spawn(purchase);
        tokio::select! {
            biased;
            sold = &mut purchase => {
                assert_eq!(sold.unwrap().unwrap().id, id, "there were fewer messages");
                break;
            }
            () = wire.is_held.notified() => {}
        }
        shop.set_stock(0).await;
        let start = Instant::now();
        wire.cut.notify_one();
        let refused = purchase.await.unwrap();
        assert!(matches!(refused, Err(Error::InsufficientStock { .. })));
        doubted += i32::from(start.elapsed() >= Duration::from_millis(500));
        shop.set_stock(1).await;
        wire.deliver.notify_one();
        wire.is_answered.notified().await;
        assert_eq!(shop.store.order(id).await.unwrap(), None);
        assert_eq!(shop.product().await.stock, 1);
    }
    assert!(doubted > 0, "no attempt was in doubt");
    assert_eq!(shop.store.verify().await.unwrap(), []);
}

/// Changes whose products only the answer would have told: nobody knows what to read again.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_unknown_outcome_nothing_stale_is_read_from_the_cache() {
    let (shop, redis) = (shop(1).await, RedisServer::start());
    let port = PostgresServer::shared().port();
    let (own_port, wire) = wire_to(port).await;
    let through = shop
        .url
        .replace(&format!(":{port}/"), &format!(":{own_port}/"));
    for cancels in [false, true] {
        // From past the last message down to the one that commits.
        for message in (1..=40).rev() {
            shop.set_stock(1).await;
            let order = shop.new_order();
            let id = order.id();
            if cancels {
                shop.store
                    .purchase(&[order], Strategy::Batch)
                    .await
                    .unwrap();
            } else {
                shop.store.accept(&[order]).await.unwrap();
            }
            wire.is_away.store(false, Ordering::SeqCst);
            let options = ConnectOptions::default()
                .with_max_connections(1)
                .with_acquire_timeout(Duration::from_millis(500));
            let store = PostgresStore::connect_with(&through, options)
                .await
                .unwrap();
            let cache = RedisCache::new(redis.client(), Duration::from_secs(300));
            cache.clear().await.unwrap();
            let cached = Arc::new(CachedStore::new(Arc::new(store), Arc::new(cache)));
            cached.read(shop.product).await.unwrap();
            let (_, status) = cached.read(shop.product).await.unwrap();
            assert_eq!(status, CacheStatus::Hit);
            wire.countdown.store(message, Ordering::SeqCst);
            let changing = Arc::clone(&cached);
            let mut changed = tokio::spawn(async move {
                let at = SystemClock.now();
                if cancels {
                    changing.cancel(id, at, None).await.map(drop)
                } else {
                    let ids = [id];
                    let outcome = changing.decide(Selection::ByIds(&ids), Strategy::Batch, at);
                    outcome.await.map(drop)
                }
            });
            tokio::select! {
                biased;
                changed = &mut changed => {
                    changed.unwrap().unwrap();
                    wire.countdown.store(0, Ordering::SeqCst);
                    assert!(message > 1, "no outcome was unknown");
                    continue;
                }
                () = wire.is_held.notified() => {}
            }
            wire.is_away.store(true, Ordering::SeqCst);
            wire.cut.notify_one();
            let changed = changed.await.unwrap();
            wire.deliver.notify_one();
            wire.is_answered.notified().await;
            wire.is_away.store(false, Ordering::SeqCst);
            let (read, _) = cached.read(shop.product).await.unwrap();
            let stock = shop.product().await.stock;
            assert_eq!(read.unwrap().stock, stock, "{changed:?}");
            if matches!(changed, Err(Error::OutcomeUnknown { .. })) {
                break;
            }
            assert!(message > 1, "no outcome was unknown");
        }
    }
}

/// Somebody changes the product while others wait for it who have seen it before.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_seeing_and_selling_counts() {
    let shop = shop(2).await;
    let mut other = PgConnection::connect(&shop.url).await.unwrap();
    for change in ["price = 250", "stock = 0", "archived_at = now()"] {
        shop.set_stock(2).await;
        let mut changing = other.begin().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE products SET {change}")))
            .execute(&mut *changing)
            .await
            .unwrap();
        let (store, order) = (shop.store.clone(), shop.new_order());
        let purchase = tokio::spawn(async move {
            let outcome = store.purchase(&[order], Strategy::Batch).await.unwrap();
            outcome.results.into_iter().next().unwrap()
        });
        shop.somebody_waits().await;
        changing.commit().await.unwrap();
        let result = purchase.await.unwrap();
        assert!(
            match &result {
                Ok(order) => change.starts_with("price") && order.total_price.to_string() == "2.50",
                Err(Error::InsufficientStock { .. }) => change.starts_with("stock"),
                Err(Error::ProductNotFound(_)) => change.starts_with("archived"),
                Err(_) => false,
            },
            "{change}: {result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_is_stored_in_its_order() {
    let shop = shop(10_000).await;
    let key = IdempotencyKey::new(Uuid::nil(), "taken").unwrap();
    let mut orders = vec![shop.order(); 3_000];
    orders[1_500] = shop.order().with_key(key);
    let mut holder = PgConnection::connect(&shop.url).await.unwrap();
    let hold = "BEGIN; INSERT INTO idempotency_keys (scope, key, fingerprint, target_id, created_at)
                VALUES ('00000000-0000-0000-0000-000000000000', 'taken', sha256(''), gen_random_uuid(), now())";
    sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
    let service = shop.service.clone();
    let bulk = tokio::spawn(async move { service.accept_all(orders).await });
    shop.somebody_waits().await;
    // The second group waits; the third must not be committed, and decided, before it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stored = "SELECT count(*) FROM orders";
    let stored: i64 = sqlx::query_scalar(stored)
        .fetch_one(shop.store.pool())
        .await
        .unwrap();
    assert_eq!(stored, 1_000);
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut holder)
        .await
        .unwrap();
    assert!(bulk.await.unwrap().iter().all(Result::is_ok));
}
