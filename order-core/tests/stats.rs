//! Tallies: exact in every snapshot, and few after years.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use order_core::{
    OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    stats::{Counts, StatsStore},
    store::{SqliteStore, Store, Strategy},
    testing::{
        PostgresServer,
        load::{Crowd, Shop, let_in, stock_up, wait_until_decided},
    },
};
use sqlx::{PgPool, SqlitePool};
use tokio_util::sync::CancellationToken;

const WINDOW: Duration = Duration::from_secs(300);
const ROWS: &str = "SELECT count(*) FROM order_counters";
/// A day of minutes, a month of hours, and two years of days, of which not all are there.
const FEW: i64 = 2_000;

/// Of each milestone: what the tallies say less what the orders say, in one statement, which
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

/// While a crowd buys both ways from two services, cancels, and others fold.
#[tokio::test(flavor = "multi_thread")]
async fn in_every_snapshot_the_tallies_say_what_the_orders_say() {
    let url = PostgresServer::shared().database().await;
    let mut services = Vec::new();
    for strategy in [Strategy::Batch, Strategy::RowLock] {
        let store = order_core::store::connect(&url).await.unwrap();
        let service = OrderService::builder(store)
            .strategy(strategy)
            // Every one of the crowd is served, however long that takes.
            .max_wait(Duration::MAX);
        services.push(service.build());
    }
    let crowd = Crowd {
        orders: 3_000,
        ..Crowd::STANDARD
    };
    let products = stock_up(&services[0], crowd).await;
    let stop = CancellationToken::new();
    let mut others = Vec::new();
    for service in &services {
        let (worker, token) = (service.worker(WorkerOptions::default()), stop.clone());
        others.push(tokio::spawn(async move {
            worker.run(token).await;
        }));
        others.push(tokio::spawn(cancel_some(service.clone(), stop.clone())));
        others.push(tokio::spawn(fold(
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
    let_in(&shops, &products, crowd).await;
    wait_until_decided(services[0].store(), Duration::from_secs(30)).await;
    stop.cancel();
    let looks = looker.await.unwrap();
    assert!(looks > 20, "only {looks} looks");
    for other in others {
        other.await.unwrap();
    }
    let totals = services[0].store().tallies(WINDOW).await.unwrap().totals;
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

/// As it will be folded now, and in an hour, and in a month.
async fn fold(store: Arc<dyn Store>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        for hours in [0, 1, 31 * 24] {
            store
                .fold_tallies(Duration::from_hours(hours))
                .await
                .unwrap();
        }
    }
}

/// Two years of a statement every ten minutes, and one second of a thousand statements.
const YEARS: &str = "
    INSERT INTO order_counters SELECT CAST($1 AS bigint) - n * 600, 3, 2, 1, 0, 0, 0, n, 3, n
    FROM (WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 100000)
          SELECT n FROM many) numbers";
const SECOND: &str = "
    INSERT INTO order_counters SELECT CAST($1 AS bigint) - 60, 1, 1, 0, 0, 0, 0, 0, 0, 0
    FROM generate_series(1, 1000)";

fn all(statements: u64, alone: u64) -> Counts {
    Counts {
        accepted: 3 * statements + alone,
        sold: 2 * statements + alone,
        failed: statements,
        ..Counts::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn years_of_tallies_are_few_rows_on_postgres() {
    let store = PostgresServer::shared().store().await;
    let now = SystemClock.now();
    for statement in [YEARS, SECOND] {
        sqlx::query(statement)
            .bind(now.timestamp())
            .execute(store.pool())
            .await
            .unwrap();
    }
    let before = store.tallies(WINDOW).await.unwrap();
    assert_eq!(before.totals, all(100_000, 1_000));
    house_is_kept(Arc::new(store.clone()), async || {
        let rows = sqlx::query_scalar(ROWS).fetch_one(store.pool());
        rows.await.is_ok_and(|rows: i64| rows < FEW)
    })
    .await;
    assert_eq!(store.tallies(WINDOW).await.unwrap().totals, before.totals);
}

#[tokio::test(flavor = "multi_thread")]
async fn years_of_tallies_are_few_rows_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::query(YEARS)
        .bind(SystemClock.now().timestamp())
        .execute(&pool)
        .await
        .unwrap();
    let before = store.tallies(WINDOW).await.unwrap();
    assert_eq!(before.totals, all(100_000, 0));
    house_is_kept(Arc::new(store.clone()), async || {
        let rows = sqlx::query_scalar(ROWS).fetch_one(&pool);
        rows.await.is_ok_and(|rows: i64| rows < FEW)
    })
    .await;
    assert_eq!(store.tallies(WINDOW).await.unwrap().totals, before.totals);
}

/// A worker that has nothing to decide keeps the house all the same.
async fn house_is_kept(store: Arc<dyn Store>, few: impl AsyncFn() -> bool) {
    let service = OrderService::builder(store).build();
    let worker = service.worker(WorkerOptions::default());
    let (stop, start) = (CancellationToken::new(), Instant::now());
    let token = stop.clone();
    let works = tokio::spawn(async move { worker.run(token).await });
    while !few().await {
        assert!(start.elapsed() < Duration::from_secs(10), "nobody folds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    works.await.unwrap();
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
    assert_eq!(store.tallies(WINDOW).await.unwrap().totals.accepted, 3);
    // As a process of the version before does, which is still running.
    sqlx::query(count).execute(&pool).await.unwrap();
    assert_eq!(store.tallies(WINDOW).await.unwrap().totals.sold, 4);
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
    let expected = Counts {
        accepted: 2,
        sold: 1,
        completed: 1,
        cancelled: 1,
        ..Counts::default()
    };
    assert_eq!(store.tallies(WINDOW).await.unwrap().totals, expected);
}
