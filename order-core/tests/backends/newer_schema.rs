//! A program goes on while a newer one has migrated: each table has columns that it does not know,
//! as every migration that two versions at once survive may add them.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use order_core::{
    CancellationToken, WorkerOptions,
    domain::{HoldTime, PageRequest, StockRequest},
    process::{LogProcessor, ProcessOptions, Processing},
    stats::StatsStore,
    store::{MigrationState, OrderQuery, PostgresStore, ProductQuery, Store},
    testing::{
        PostgresServer, PostgresTime,
        conformance::{self, Time},
    },
};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::Mutex;

use crate::shop::{Shop, shop};

/// What a newer program adds to a table.
const COLUMNS: [&str; 2] = ["later_count integer NOT NULL DEFAULT 0", "later_note text"];
/// Counters of ten seconds, which are old enough to be one row.
const COUNTED: &str = "
    INSERT INTO order_counters (at, accepted, sold, failed, completed, cancelled, returned,
                                max_wait_us, waited, waited_us, later_count)
    SELECT 1000000800 + n, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1
    FROM (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5
          UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) numbers";
const LATER: &str = "SELECT CAST(sum(later_count) AS bigint) FROM order_counters";

const POSTGRES_TABLES: &str = "SELECT relname::text FROM pg_class WHERE relkind = 'r'
     AND relnamespace = current_schema()::regnamespace AND relname <> '_sqlx_migrations'";
/// What a newer program does to the tables, besides its row in the table of migrations.
fn additions(tables: &[String]) -> Vec<String> {
    let columns = tables
        .iter()
        .flat_map(|table| COLUMNS.map(|column| format!("ALTER TABLE {table} ADD COLUMN {column}")));
    let applied = String::from(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', true, '\\x00', 1)",
    );
    columns.chain([applied]).collect()
}

async fn migrate_further_on_postgres(pool: &PgPool) {
    let tables: Vec<String> = sqlx::query_scalar(POSTGRES_TABLES)
        .fetch_all(pool)
        .await
        .unwrap();
    assert!(tables.len() > 10, "{tables:?}");
    for statement in additions(&tables) {
        let statement = sqlx::query(AssertSqlSafe(statement));
        statement.execute(pool).await.unwrap();
    }
}

/// The database that the others are copies of, once it is made, and how many they are.
static TEMPLATE: Mutex<(Option<String>, u32)> = Mutex::const_new((None, 0));

/// The URL of a database that a newer program migrated.
async fn newer_postgres() -> String {
    let server = PostgresServer::shared();
    let mut made = TEMPLATE.lock().await;
    if made.0.is_none() {
        let url = server.database().await;
        let pool = PgPool::connect(&url).await.unwrap();
        migrate_further_on_postgres(&pool).await;
        pool.close().await;
        made.0 = url.rsplit_once('/').map(|(_, name)| name.to_owned());
    }
    made.1 += 1;
    let (name, template) = (format!("newer_{}", made.1), made.0.as_ref().unwrap());
    let copy = format!("CREATE DATABASE {name} TEMPLATE {template}");
    server.execute(copy).await;
    server.url(&name)
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_goes_on_with_a_newer_schema() {
    let fresh = async || {
        let url = newer_postgres().await;
        let store: Arc<dyn Store> = order_core::store::connect(&url).await.unwrap();
        let time: Arc<dyn Time> = Arc::new(PostgresTime::new(&url));
        (store, time)
    };
    conformance::holds(&fresh).await;
}

/// Its sessions have prepared their statements on the schema of before.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_were_prepared_go_on_when_a_newer_program_migrates() {
    let shop = shop(1_000).await;
    let processing = Processing::new(Arc::new(LogProcessor), ProcessOptions::default());
    let options = WorkerOptions::default();
    let worker = shop.service.worker(options).processing(processing);
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    use_it(&shop).await;
    migrate_further_on_postgres(shop.store.pool()).await;
    // By more sessions than there are, at once: each has its own statements.
    join_all((0..20).map(|_| use_it(&shop))).await;
    let done = async || {
        let totals = shop.store.counters(Duration::ZERO).await.unwrap().totals;
        totals.completed + totals.cancelled == 21 * 4
    };
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < Duration::from_secs(20), "tasks are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    working.await.unwrap();
    assert_eq!(shop.store.verify().await.unwrap(), []);
}

/// Four orders, of which two are cancelled, and what is read of them.
async fn use_it(shop: &Shop) {
    let service = &shop.service;
    service.purchase(shop.order()).await.unwrap();
    let accepted = service.accept(shop.order()).await.unwrap().id;
    let minute = HoldTime::new(60).unwrap();
    let held = || shop.order().held_for(Some(minute));
    let kept = service.purchase(held()).await.unwrap().id;
    service.confirm(kept).await.unwrap().unwrap();
    service.cancel(kept).await.unwrap().unwrap();
    let given_up = service.purchase(held()).await.unwrap().id;
    service.cancel(given_up).await.unwrap().unwrap();
    service.order(accepted).await.unwrap().unwrap();
    service.orders(&OrderQuery::default()).await.unwrap();
    service.products(&ProductQuery::default()).await.unwrap();
    let page = PageRequest::default();
    let history = service.stock_history(shop.product, &page).await;
    assert!(history.unwrap().is_some());
    let adjustment = StockRequest::new(1, None).unwrap();
    let adjusted = service.adjust_stock(shop.product, adjustment).await;
    adjusted.unwrap().unwrap();
    shop.store.hot_products(10, 10).await.unwrap();
}

/// An older program knows nothing of a counter that is new: it leaves the rows as they are.
async fn keeps_later_counters(store: &(impl Store + StatsStore), later: impl AsyncFn() -> i64) {
    let before = store.counters(Duration::from_secs(60)).await.unwrap();
    assert_eq!(before.totals.sold, 10);
    assert_eq!(store.compact_counters(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(later().await, 10);
    let after = store.counters(Duration::from_secs(60)).await.unwrap();
    assert_eq!(after.totals, before.totals);
    let migrations = store.migrations().await.unwrap();
    let newest = migrations.last().unwrap();
    assert_eq!(
        (newest.version, newest.state),
        (9_999, MigrationState::Unknown)
    );
}

#[tokio::test]
async fn an_older_compactor_keeps_what_it_does_not_know_on_postgres() {
    let store = PostgresStore::connect(&newer_postgres().await)
        .await
        .unwrap();
    sqlx::query(COUNTED).execute(store.pool()).await.unwrap();
    keeps_later_counters(&store, async || {
        let later = sqlx::query_scalar(LATER).fetch_one(store.pool());
        later.await.unwrap()
    })
    .await;
}
