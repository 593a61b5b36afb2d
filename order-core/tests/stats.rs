//! Counters: exact in every snapshot, and few after years.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use order_core::{
    OrderService, Worker, WorkerOptions,
    clock::{Clock, SystemClock},
    stats::{OrderCounts, StatsStore},
    store::{SqliteStore, Store, Strategy},
    testing::{
        PostgresServer,
        load::{Load, Shop, create_products, place_orders, wait_until_decided},
    },
};
use sqlx::{PgPool, SqlitePool};
use tokio_util::sync::CancellationToken;

const WINDOW: Duration = Duration::from_secs(300);
const ROWS: &str = "SELECT count(*) FROM order_counters";
/// A day of minutes, a month of hours, and two years of days, of which not all are there.
const FEW: i64 = 2_000;

/// Of each milestone: the counters less the orders, in one statement, which
/// sees one snapshot.
const DIFFERENCES: &str = "
    SELECT tallied.accepted - counted.accepted, tallied.sold - counted.sold,
           tallied.failed - counted.failed, tallied.cancelled - counted.cancelled,
           tallied.returned - counted.returned
    FROM (SELECT coalesce(sum(accepted), 0)::bigint AS accepted, coalesce(sum(sold), 0)::bigint AS sold,
                 coalesce(sum(failed), 0)::bigint AS failed,
                 coalesce(sum(cancelled), 0)::bigint AS cancelled,
                 coalesce(sum(returned), 0)::bigint AS returned FROM order_counters) tallied,
         (SELECT count(*) AS accepted,
                 count(*) FILTER (WHERE status IN ('success', 'completed')
                     OR (status = 'cancelled' AND decided_at IS NOT NULL)) AS sold,
                 count(*) FILTER (WHERE status = 'failed') AS failed,
                 count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
                 count(*) FILTER (WHERE status = 'cancelled' AND decided_at IS NOT NULL) AS returned
          FROM orders) counted";

/// While a load buys both ways from two services, cancels, and others compact.
#[tokio::test(flavor = "multi_thread")]
async fn in_every_snapshot_the_counters_say_what_the_orders_say() {
    let url = PostgresServer::shared().database().await;
    let mut services = Vec::new();
    for strategy in [Strategy::Batch, Strategy::RowLock] {
        let store = order_core::store::connect(&url).await.unwrap();
        let service = OrderService::builder(store)
            .strategy(strategy)
            // Every order is served, however long that takes.
            .max_wait(Duration::MAX);
        services.push(service.build());
    }
    let load = Load {
        orders: 3_000,
        ..Load::STANDARD
    };
    let products = create_products(&services[0], load).await;
    let stop = CancellationToken::new();
    let mut others = Vec::new();
    for service in &services {
        let (worker, token) = (service.worker(WorkerOptions::default()), stop.clone());
        others.push(tokio::spawn(async move {
            worker.run(token).await;
        }));
        others.push(tokio::spawn(cancel_some(service.clone(), stop.clone())));
        others.push(tokio::spawn(compact(
            Arc::clone(service.store()),
            stop.clone(),
        )));
    }
    let (pool, token) = (PgPool::connect(&url).await.unwrap(), stop.clone());
    let looker = tokio::spawn(async move {
        let mut looks = 0;
        while !token.is_cancelled() {
            let difference: (i64, i64, i64, i64, i64) =
                sqlx::query_as(DIFFERENCES).fetch_one(&pool).await.unwrap();
            assert_eq!(difference, (0, 0, 0, 0, 0), "at look {looks}");
            looks += 1;
        }
        looks
    });
    let shops: Vec<Arc<dyn Shop>> = services
        .iter()
        .map(|service| Arc::new(service.clone()) as Arc<dyn Shop>)
        .collect();
    place_orders(&shops, &products, load).await;
    wait_until_decided(services[0].store(), Duration::from_secs(30)).await;
    stop.cancel();
    let looks = looker.await.unwrap();
    assert!(looks > 20, "only {looks} looks");
    for other in others {
        other.await.unwrap();
    }
    let stats = services[0].store().clone().stats_store().unwrap();
    let totals = stats.counters(WINDOW).await.unwrap().totals;
    assert!(totals.returned > 0 && totals.failed > 0, "{totals:?}");
}

async fn cancel_some(service: OrderService, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let newest = service.orders(&Default::default()).await.unwrap();
        if let Some(order) = newest.items.last() {
            // It may have failed.
            let _ = service.cancel(order.id).await;
        }
    }
}

/// As it will be compacted now, and in an hour, and in a month.
async fn compact(store: Arc<dyn Store>, stop: CancellationToken) {
    let stats = store.stats_store().unwrap();
    while !stop.is_cancelled() {
        for hours in [0, 1, 31 * 24] {
            stats
                .compact_counters(Duration::from_hours(hours))
                .await
                .unwrap();
        }
    }
}

/// Two years of a statement every ten minutes, and one second of a thousand statements.
const YEARS: &str = "
    INSERT INTO order_counters (at, accepted, sold, failed, completed, cancelled, returned,
                                max_wait_us, waited, waited_us)
    SELECT CAST($1 AS bigint) - n * 600, 3, 2, 1, 0, 0, 0, n, 3, n
    FROM (WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 100000)
          SELECT n FROM many) numbers";
const SECOND: &str = "
    INSERT INTO order_counters (at, accepted, sold, failed, completed, cancelled, returned,
                                max_wait_us, waited, waited_us)
    SELECT CAST($1 AS bigint) - 60, 1, 1, 0, 0, 0, 0, 0, 0, 0
    FROM generate_series(1, 1000)";

fn all(statements: u64, alone: u64) -> OrderCounts {
    OrderCounts {
        accepted: 3 * statements + alone,
        sold: 2 * statements + alone,
        failed: statements,
        ..OrderCounts::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn years_of_counters_are_few_rows_on_postgres() {
    let store = PostgresServer::shared().store().await;
    let now = SystemClock.now();
    for statement in [YEARS, SECOND] {
        sqlx::query(statement)
            .bind(now.timestamp())
            .execute(store.pool())
            .await
            .unwrap();
    }
    let before = store.counters(WINDOW).await.unwrap();
    assert_eq!(before.totals, all(100_000, 1_000));
    counters_are_compacted(Arc::new(store.clone()), async || {
        let rows = sqlx::query_scalar(ROWS).fetch_one(store.pool());
        rows.await.is_ok_and(|rows: i64| rows < FEW)
    })
    .await;
    assert_eq!(store.counters(WINDOW).await.unwrap().totals, before.totals);
}

/// A store in a file that has counted for years, and its pool.
async fn years_on_sqlite() -> (SqliteStore, SqlitePool) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::query(YEARS)
        .bind(SystemClock.now().timestamp())
        .execute(&pool)
        .await
        .unwrap();
    (store, pool)
}

async fn are_few(pool: &SqlitePool) -> bool {
    let rows = sqlx::query_scalar(ROWS).fetch_one(pool);
    rows.await.is_ok_and(|rows: i64| rows < FEW)
}

#[tokio::test(flavor = "multi_thread")]
async fn years_of_counters_are_few_rows_on_sqlite() {
    let (store, pool) = years_on_sqlite().await;
    let before = store.counters(WINDOW).await.unwrap();
    assert_eq!(before.totals, all(100_000, 0));
    counters_are_compacted(Arc::new(store.clone()), async || are_few(&pool).await).await;
    assert_eq!(store.counters(WINDOW).await.unwrap().totals, before.totals);
}

/// Whoever embeds a service has nothing more to think of.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_worker_compacts_counters() {
    let (store, pool) = years_on_sqlite().await;
    let service = OrderService::builder(Arc::new(store)).build();
    until_few(async || are_few(&pool).await).await;
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_service_compacts_counters() {
    let (store, pool) = years_on_sqlite().await;
    let options = WorkerOptions::default();
    let worker = Worker::new(Arc::new(store), None, Arc::new(SystemClock), options);
    let stop = CancellationToken::new();
    let token = stop.clone();
    let works = tokio::spawn(async move { worker.run(token).await });
    until_few(async || are_few(&pool).await).await;
    stop.cancel();
    works.await.unwrap();
}

/// A process that only reads leaves that to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_compaction_changes_nothing() {
    let ((store, kept), (other, compacted)) = (years_on_sqlite().await, years_on_sqlite().await);
    let reads = OrderService::builder(Arc::new(store)).without_compaction();
    let compacts = OrderService::builder(Arc::new(other));
    let services = (reads.build(), compacts.build());
    until_few(async || are_few(&compacted).await).await;
    assert!(!are_few(&kept).await);
    drop(services);
}

/// A worker that has nothing to decide does not stop that.
async fn counters_are_compacted(store: Arc<dyn Store>, few: impl AsyncFn() -> bool) {
    let service = OrderService::builder(store).build();
    let worker = service.worker(WorkerOptions::default());
    let stop = CancellationToken::new();
    let token = stop.clone();
    let works = tokio::spawn(async move { worker.run(token).await });
    until_few(few).await;
    stop.cancel();
    works.await.unwrap();
}

async fn until_few(few: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !few().await {
        assert!(start.elapsed() < Duration::from_secs(10), "nobody compacts");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The last version of the schema in which counters had another name.
const BEFORE: i64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_by_another_name_counts_on_on_postgres() {
    let url = PostgresServer::shared().empty_database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    let migrations = sqlx::migrate!("./migrations/postgres");
    migrations.run_to(BEFORE, &pool).await.unwrap();
    let count = "INSERT INTO order_tallies (accepted, sold) VALUES (3, 2)";
    sqlx::query(count).execute(&pool).await.unwrap();
    let store = order_core::store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let stats = store.stats_store().unwrap();
    assert_eq!(stats.counters(WINDOW).await.unwrap().totals.accepted, 3);
    // As a process of the version before does, which is still running.
    sqlx::query(count).execute(&pool).await.unwrap();
    assert_eq!(stats.counters(WINDOW).await.unwrap().totals.sold, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_by_another_name_counts_on_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    let pool = SqlitePool::connect(&url).await.unwrap();
    let migrations = sqlx::migrate!("./migrations/sqlite");
    migrations.run_to(BEFORE, &pool).await.unwrap();
    let run = async |statement: &'static str| {
        sqlx::query(statement).execute(&pool).await.unwrap();
    };
    run(
        "INSERT INTO orders (id, status, total_price, created_at, decided_at)
         VALUES (zeroblob(16), 'success', 100, 1, 1)",
    )
    .await;
    store.migrate().await.unwrap();
    run("UPDATE orders SET status = 'completed', completed_at = 2").await;
    run("INSERT INTO orders (id, status, total_price, created_at)
         VALUES (randomblob(16), 'pending', 100, 1)")
    .await;
    run("UPDATE orders SET status = 'cancelled', cancelled_at = 2 WHERE status = 'pending'").await;
    let expected = OrderCounts {
        accepted: 2,
        sold: 1,
        completed: 1,
        cancelled: 1,
        ..OrderCounts::default()
    };
    assert_eq!(store.counters(WINDOW).await.unwrap().totals, expected);
}
