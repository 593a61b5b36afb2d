//! The connections to a `SQLite` file: given up halfway, too slow, and a log that grows.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use order_core::{
    Error, OrderService,
    clock::{Clock, SystemClock},
    domain::{
        IdGenerator, NewOrder, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest,
        Quantity,
    },
    store::{
        self, ConnectOptions, OrderQuery, OrderStore, ProductStore, Selection, SqliteStore, Store,
        Strategy,
    },
    verify::{Check, Verification, VerifyOptions},
};
use sqlx::{Connection, SqliteConnection};

fn new_file() -> PathBuf {
    // Kept for the life of the process: the store has no say when its file may go.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    dir.keep().join("orders.db")
}

fn url(file: &Path) -> String {
    format!("sqlite://{}", file.display())
}

struct Shop {
    store: SqliteStore,
    ids: IdGenerator,
    product: ProductId,
}

impl Shop {
    async fn open(file: &Path, options: ConnectOptions) -> Self {
        let store = SqliteStore::connect_with(&url(file), options)
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let service = OrderService::builder(Arc::new(store.clone())).build();
        let product = ProductRequest::new("p", "1".parse().unwrap(), 1 << 30, None).unwrap();
        let product = service.create_product(product).await.unwrap().id;
        Self {
            store,
            ids: IdGenerator::default(),
            product,
        }
    }

    fn orders(&self, count: usize) -> Vec<NewOrder> {
        let now = SystemClock.now();
        let order = OrderRequest::one(self.product, Quantity::new(1).unwrap());
        (0..count)
            .map(|_| {
                order
                    .clone()
                    .into_new_order(OrderId(self.ids.next(now)), now)
            })
            .collect()
    }

    async fn purchase(&self, count: usize) -> Result<(), Error> {
        let orders = self.orders(count);
        let outcome = self.store.purchase(&orders, Strategy::Batch).await?;
        assert!(outcome.results.iter().all(Result::is_ok));
        Ok(())
    }
}

/// Whoever waits may go away at any moment.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_halfway_keeps_nobody_from_writing() {
    let shop = Shop::open(&new_file(), ConnectOptions::default()).await;
    let mut given_up = 0;
    for step in 0..200 {
        let limit = Duration::from_micros(40 * step);
        let work = async {
            match step % 3 {
                0 => shop.purchase(20).await,
                1 => shop.store.accept(&shop.orders(20)).await.map(drop),
                _ => {
                    let (oldest, now) = (Selection::Oldest(20), SystemClock.now());
                    let strategy = Strategy::ConditionalUpdate;
                    shop.store.decide(oldest, strategy, now).await.map(drop)
                }
            }
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result.unwrap(),
            Err(_) => given_up += 1,
        }
    }
    assert!(given_up > 20, "{given_up} were given up");
    shop.purchase(20).await.unwrap();
    shop.store.check_writable().await.unwrap();
    assert_eq!(shop.store.verify().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_for_too_long_is_interrupted_and_the_next_is_served() {
    let options = ConnectOptions::default().with_read_limit(Duration::from_millis(2));
    let file = new_file();
    let shop = Shop::open(&file, options).await;
    let mut connection = SqliteConnection::connect(&url(&file)).await.unwrap();
    sqlx::raw_sql(
        "PRAGMA synchronous = off;
         INSERT INTO orders (id, status, total_price, created_at)
         WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 60000)
         SELECT unhex(printf('0181%028x', n)), 'pending', 100, n FROM count",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    // Nobody completed an order: all of them are looked at.
    let completed = OrderQuery {
        status: Some(OrderStatus::Completed),
        ..OrderQuery::default()
    };
    let slow = (0..8).map(|_| shop.store.orders(&completed));
    for slow in futures_util::future::join_all(slow).await {
        let error = slow.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
    assert!(shop.store.product(shop.product).await.unwrap().is_some());
    // For as long as it takes; the orders have no lines.
    let options = VerifyOptions::default();
    let all = shop.store.verify_with(&options).await.unwrap();
    assert_eq!((all.verified.orders, all.found), (60_000, 60_000));
    let only_lines = all
        .discrepancies
        .iter()
        .all(|one| one.check == Check::OrderLines);
    assert!(only_lines && all.discrepancies.len() == Verification::MOST_LISTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_cut_when_no_reader_needs_it() {
    let file = new_file();
    let shop = Shop::open(&file, ConnectOptions::default()).await;
    let log = file.with_file_name("orders.db-wal");
    let log_bytes = || fs::metadata(&log).unwrap().len();
    let mut reader = SqliteConnection::connect(&url(&file)).await.unwrap();
    let mut snapshot = reader.begin().await.unwrap();
    let _: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&mut *snapshot)
        .await
        .unwrap();
    while log_bytes() < 18 << 20 {
        shop.purchase(1_000).await.unwrap();
    }
    shop.store.reclaim_disk().await.unwrap();
    assert!(log_bytes() >= 18 << 20, "somebody needs it");
    shop.purchase(1).await.unwrap();

    snapshot.rollback().await.unwrap();
    shop.store.reclaim_disk().await.unwrap();
    assert_eq!(log_bytes(), 0);
    shop.purchase(1).await.unwrap();
    assert!(log_bytes() < 1 << 20);

    reader.close().await.unwrap();
    shop.store.close().await;
    assert_eq!(fs::metadata(&log).map_or(0, |log| log.len()), 0);
}

/// For a file that is there, or none.
fn existing() -> ConnectOptions {
    ConnectOptions::default().with_create(false)
}

#[tokio::test]
async fn who_only_reads_makes_no_file() {
    let file = new_file();
    let refused = store::connect_with(&url(&file), existing())
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    assert!(refused.to_string().contains(&file.display().to_string()));
    assert!(!file.exists());

    fs::write(&file, b"").unwrap();
    let refused = store::connect_with(&url(&file), existing())
        .await
        .err()
        .unwrap();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    assert_eq!(fs::metadata(&file).unwrap().len(), 0);

    let made = store::connect(&url(&file)).await.unwrap();
    made.migrate().await.unwrap();
    let store = store::connect_with(&url(&file), existing()).await.unwrap();
    assert_eq!(store.verify().await.unwrap(), []);
}

/// What the schema on Postgres refuses, too.
#[tokio::test]
async fn history_cannot_be_changed() {
    let file = new_file();
    let shop = Shop::open(&file, ConnectOptions::default()).await;
    shop.store.accept(&shop.orders(1)).await.unwrap();
    let mut connection = SqliteConnection::connect(&url(&file)).await.unwrap();
    for statement in [
        "DELETE FROM orders",
        "DELETE FROM products",
        "DELETE FROM order_lines",
        "UPDATE orders SET id = randomblob(16)",
        "UPDATE products SET id = randomblob(16)",
        "UPDATE order_lines SET quantity = 2",
        "UPDATE stock_adjustments SET delta = 2",
        "DELETE FROM stock_adjustments",
        "UPDATE audit_log SET client = 'nobody'",
        "DELETE FROM audit_log",
    ] {
        let refused = sqlx::query(statement).execute(&mut connection).await;
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("history stays"), "{statement}: {told}");
    }
    assert_eq!(shop.store.verify().await.unwrap(), []);
}
