//! Features that only Postgres has: claims that begin where the last one ended, batches that keep
//! the order, and references that are checked once per statement.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::time::Duration;

use order_core::{
    Error, OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{
        IdGenerator, MAX_STOCK, OrderId, OrderRequest, OrderStatus, PageRequest, PageSize,
        PageStart, ProductId, ProductRequest, Quantity,
    },
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskStore},
    store::{
        self, ConnectOptions, Decided, OrderQuery, OrderStore, PostgresStore, ProductQuery,
        Selection, Store, Strategy,
    },
    testing::PostgresServer,
};
use sqlx::{Connection, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::shop::{Shop, shop};

const BATCH: usize = 1_000;

impl Shop {
    async fn accept(&self, orders: usize) {
        let accepted = self.service.accept_all(vec![self.order(); orders]).await;
        assert!(accepted.iter().all(Result::is_ok));
    }

    async fn decide(&self, orders: usize) -> Vec<OrderId> {
        let decided = decide(&self.store, orders).await;
        decided.into_iter().map(|(id, _)| id).collect()
    }

    /// Sells orders by one statement, so that their tasks lie in one row.
    async fn sell_together(&self, orders: usize) {
        let now = SystemClock.now();
        let id = || OrderId(self.ids.next(now));
        let orders = (0..orders).map(|_| self.order().into_new_order(id(), now));
        let orders: Vec<_> = orders.collect();
        let sold = self.store.purchase(&orders, Strategy::Batch).await;
        assert!(sold.unwrap().results.iter().all(Result::is_ok));
    }

    /// Somebody who keeps an old snapshot, so that nothing is cleaned up.
    async fn reader(&self) -> PgConnection {
        let mut reader = PgConnection::connect(&self.url).await.unwrap();
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM orders LIMIT 1";
        sqlx::raw_sql(begin).execute(&mut reader).await.unwrap();
        reader
    }

    /// How many entries of an index were read; at least so many, once all sessions reported that,
    /// which they do when they end.
    async fn entries_read(&self, index: &str, least: i64) -> i64 {
        self.store.pool().close().await;
        let pool = PgPool::connect(&self.url).await.unwrap();
        let read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = $1";
        loop {
            let read = sqlx::query_scalar(read).bind(index).fetch_one(&pool).await;
            let read: i64 = read.unwrap();
            if read >= least {
                return read;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ids(&self, status: OrderStatus) -> Vec<OrderId> {
        let (mut ids, mut start) = (Vec::new(), PageStart::First);
        loop {
            let query = OrderQuery {
                status: Some(status),
                page: PageRequest {
                    size: PageSize::new(100).unwrap(),
                    start,
                },
                ..OrderQuery::default()
            };
            let page = self.store.orders(&query).await.unwrap();
            ids.extend(page.items.iter().map(|order| order.id));
            match page.next {
                Some(id) => start = PageStart::After(id),
                None => return ids,
            }
        }
    }
}

async fn decide(store: &PostgresStore, orders: usize) -> Vec<Decided> {
    let (pick, now) = (Selection::Oldest(orders), SystemClock.now());
    let decided = store.decide(pick, Strategy::Batch, now).await;
    decided.unwrap().results
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_batches_sell_in_the_order_in_which_orders_came() {
    let shop = shop(1_000).await;
    shop.accept(2_000).await;
    let options = WorkerOptions::default()
        .with_max_concurrent_batches(8)
        .with_batch_orders(10);
    let worker = shop.service.worker(options);
    let decided = worker.drain(&CancellationToken::new()).await.unwrap();
    assert_eq!((decided.sold, decided.failed), (1_000, 1_000));
    let last_sold = shop.ids(OrderStatus::Success).await.into_iter().max();
    let first_failed = shop.ids(OrderStatus::Failed).await.into_iter().min();
    assert!(last_sold < first_failed, "a later order overtook");
}

/// Its id says that it came before all others; it is stored after others were claimed.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_another_process_stored_late_has_its_turn_next() {
    let shop = shop(MAX_STOCK).await;
    let other = PostgresStore::connect(&shop.url).await.unwrap();
    let ids = IdGenerator::default();
    let early = [(); 2].map(|()| OrderId(ids.next(SystemClock.now())));
    let store_late = async |id: OrderId| {
        let order = shop.order().into_new_order(id, SystemClock.now());
        other.accept(&[order]).await.unwrap().remove(0).unwrap();
    };
    shop.accept(2 * BATCH).await;
    assert_eq!(shop.decide(BATCH).await.len(), BATCH);
    store_late(early[0]).await;
    // What is left, which is not a full batch; so, next, what lies behind.
    let mut decided = shop.decide(2 * BATCH).await;
    decided.extend(shop.decide(2 * BATCH).await);
    assert_eq!(decided.len(), BATCH + 1);
    assert!(decided.contains(&early[0]));
    shop.accept(BATCH).await;
    assert_eq!(shop.decide(BATCH).await.len(), BATCH);
    store_late(early[1]).await;
    // Nothing ahead; so, what lies behind.
    assert_eq!(shop.decide(BATCH).await, [early[1]]);
    assert_eq!(shop.decide(BATCH).await, []);
}

/// Another server commits many orders late, with ids before all that are pending, while every claim
/// is full. What is newer is decided until a worker looks back, and by no worker between its first
/// and its last late order, so that the newest orders are those that fail.
#[tokio::test(flavor = "multi_thread")]
async fn orders_that_came_late_are_overtaken_until_a_worker_looks_back_and_not_again() {
    const CLAIM: usize = 100;
    const NEWER: usize = 20 * BATCH;
    const LATE: usize = 3 * BATCH;
    let shop = shop((NEWER + LATE) as i64 - 5_000).await;
    let other = PostgresStore::connect(&shop.url).await.unwrap();
    let late: Vec<_> = (0..LATE).map(|_| shop.new_order()).collect();
    let last_late = late.last().unwrap().id();
    shop.accept(NEWER).await;
    // Both workers are ahead when the late ones come.
    let workers = [&shop.store, &other];
    for store in workers {
        assert_eq!(decide(store, CLAIM).await.len(), CLAIM);
    }
    assert!(other.accept(&late).await.unwrap().iter().all(Result::is_ok));
    let (mut found, mut overtaking) = ([false; 2], 0);
    let mut left = LATE;
    while left > 0 {
        for (store, found) in workers.into_iter().zip(&mut found) {
            let decided = decide(store, CLAIM).await;
            assert_eq!(decided.len(), CLAIM, "newer ones are left");
            assert!(decided.iter().all(|(_, decision)| decision.is_ok()));
            let of_late = decided.iter().filter(|(id, _)| *id <= last_late).count();
            *found |= of_late > 0;
            left -= of_late;
            if *found && left > 0 {
                overtaking += CLAIM - of_late;
            }
        }
    }
    assert_eq!(
        overtaking, 0,
        "newer ones were decided before {LATE} late ones"
    );
}

/// While somebody keeps an old snapshot, nothing that was decided can be cleaned up: a claim
/// from the head of the index would read every entry since.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_does_not_walk_over_what_was_decided() {
    const BATCHES: usize = 20;
    let shop = shop(MAX_STOCK).await;
    shop.accept(BATCHES * BATCH).await;
    let _reader = shop.reader().await;
    for _ in 0..BATCHES {
        assert_eq!(shop.decide(BATCH).await.len(), BATCH);
    }
    let read = shop
        .entries_read("orders_pending", (BATCHES * BATCH) as i64)
        .await;
    // Walking from the head would read 210 000. Looking back now and then reads some.
    assert!(
        read < 100_000,
        "{read} entries were read for {BATCHES} batches"
    );
}

/// The same, of tasks: of each sale alone, so that each is packed by itself, and of many that were
/// sold together, so that they are unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_does_not_walk_over_tasks_that_are_done() {
    const SALES: usize = 2_000;
    const CLAIM: usize = 50;
    let shop = shop(MAX_STOCK).await;
    let _reader = shop.reader().await;
    let orders: Vec<_> = (0..SALES).map(|_| shop.new_order()).collect();
    let sold = shop.store.purchase(&orders, Strategy::RowLock).await;
    assert!(sold.unwrap().results.iter().all(Result::is_ok));
    for _ in 0..SALES / (2 * CLAIM) {
        shop.sell_together(2 * CLAIM).await;
    }
    let mut done = 0;
    while done < 2 * SALES {
        let at = SystemClock.now();
        let claim = Claim {
            id: Uuid::from_u128(done as u128),
            worker_id: Uuid::nil(),
            max: CLAIM,
            ahead: 0,
            delay: Duration::ZERO,
            lease: Duration::from_secs(30),
        };
        let claimed = shop.store.claim_tasks(&claim).await.unwrap();
        assert_eq!(claimed.len(), CLAIM);
        done += claimed.len();
        let ended: Vec<AttemptResult> = claimed
            .iter()
            .map(|claimed| claimed.result(Uuid::nil(), Duration::ZERO, AttemptOutcome::Done))
            .collect();
        shop.store.end_tasks(&ended, at).await.unwrap();
    }
    for index in ["task_batches_due", "queue_entries_claimable"] {
        let read = shop.entries_read(index, SALES as i64).await;
        // Walking from the head would read 41 000 of the half of them, and more than once.
        assert!(read < 2 * 30_000, "{read} entries of {index} were read");
    }
}

/// A thousand tasks that end together cost one row, and none of them is ever an entry.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_were_packed_together_are_claimed_and_end_as_one_row() {
    const SALES: usize = 1_000;
    let shop = shop(MAX_STOCK).await;
    for _ in 0..2 {
        shop.sell_together(SALES).await;
    }
    for left in [1, 0] {
        let claim = Claim {
            id: Uuid::from_u128(left),
            worker_id: Uuid::nil(),
            max: 1,
            ahead: 2 * SALES - 1,
            delay: Duration::ZERO,
            lease: Duration::from_secs(30),
        };
        let claimed = shop.store.claim_tasks(&claim).await.unwrap();
        assert_eq!(claimed.len(), SALES, "as many whole rows as fit");
        let done =
            |claimed: &Claimed| claimed.result(Uuid::nil(), Duration::ZERO, AttemptOutcome::Done);
        let ended: Vec<AttemptResult> = claimed.iter().map(done).collect();
        let completed = shop.store.end_tasks(&ended, SystemClock.now()).await;
        assert_eq!(completed.unwrap(), SALES as u64);
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM task_batches")
            .fetch_one(shop.store.pool())
            .await
            .unwrap();
        assert_eq!(rows, i64::try_from(left).unwrap());
    }
    let ever: i64 = sqlx::query_scalar("SELECT pg_relation_size('queue_entries')")
        .fetch_one(shop.store.pool())
        .await
        .unwrap();
    assert_eq!(ever, 0, "no entry was ever written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_line_refers_to_is_there_and_stays() {
    let shop = shop(MAX_STOCK).await;
    shop.accept(1).await;
    let run = async |sql: &'static str| {
        let error = sqlx::query(sql)
            .execute(shop.store.pool())
            .await
            .unwrap_err();
        error
            .into_database_error()
            .unwrap()
            .code()
            .unwrap()
            .into_owned()
    };
    for (code, sql) in [
        (
            "23503",
            "INSERT INTO order_lines SELECT id, 2, gen_random_uuid(), 1, 1 FROM orders",
        ),
        (
            "23503",
            "INSERT INTO order_lines SELECT gen_random_uuid(), 1, id, 1, 1 FROM products",
        ),
        ("23001", "DELETE FROM orders"),
        ("23001", "DELETE FROM products"),
        ("23001", "DELETE FROM order_lines"),
        ("23001", "UPDATE orders SET id = gen_random_uuid()"),
        ("23001", "UPDATE products SET id = gen_random_uuid()"),
        ("23001", "UPDATE order_lines SET quantity = 2"),
        ("23001", "TRUNCATE orders"),
        ("23001", "UPDATE stock_adjustments SET delta = 2"),
        ("23001", "DELETE FROM stock_adjustments"),
        ("23001", "TRUNCATE stock_adjustments"),
        ("23001", "UPDATE audit_log SET client = 'nobody'"),
        ("23001", "DELETE FROM audit_log"),
        ("23001", "TRUNCATE audit_log"),
    ] {
        assert_eq!(run(sql).await, code, "{sql}");
    }
    assert_eq!(shop.store.verify().await.unwrap(), []);
}

/// Somebody unpacks tasks while one of their orders is being cancelled: what is a task by the
/// time that the order is cancelled is gone with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_has_no_task_also_when_it_was_just_unpacked() {
    let shop = shop(MAX_STOCK).await;
    let id = shop.service.purchase(shop.order()).await.unwrap().id;
    let mut other = PgConnection::connect(&shop.url).await.unwrap();
    let mut unpacking = other.begin().await.unwrap();
    sqlx::query("DELETE FROM task_batches")
        .execute(&mut *unpacking)
        .await
        .unwrap();
    let store = shop.store.clone();
    let cancelling =
        tokio::spawn(async move { store.cancel(id, SystemClock.now(), None).await.unwrap() });
    shop.somebody_waits().await;
    sqlx::query(
        "INSERT INTO queue_entries (topic, order_id, visible_at)
         SELECT 'process', id, decided_at FROM orders",
    )
    .execute(&mut *unpacking)
    .await
    .unwrap();
    unpacking.commit().await.unwrap();
    assert!(cancelling.await.unwrap().is_some());
    let history = shop.store.task_history(id).await;
    assert_eq!(history.unwrap().unwrap().task, None);
}

/// A shop in a schema of its own, with `stock` lamps. One connection has to do.
async fn shop_in(url: &str, schema: &str, stock: i64) -> (OrderService, ProductId) {
    let options = ConnectOptions::default()
        .with_schema(schema)
        .with_max_connections(1);
    let store = store::connect_with(url, options).await.unwrap();
    store.migrate().await.unwrap();
    let shop = OrderService::builder(store).build();
    let sku = Some("lamp".to_owned());
    let lamp = ProductRequest::new("Lamp", "1".parse().unwrap(), stock, sku).unwrap();
    let lamp = shop.create_product(lamp).await.unwrap();
    (shop, lamp.id)
}

#[tokio::test]
async fn shops_in_two_schemas_of_a_database_see_nothing_of_each_other() {
    let url = PostgresServer::shared().empty_database().await;
    let ((one, lamp), (two, other_lamp)) =
        tokio::join!(shop_in(&url, "one", 2), shop_in(&url, "two", 5));
    let buy = |lamp| OrderRequest::one(lamp, Quantity::new(1).unwrap());
    let bought = one.purchase(buy(lamp)).await.unwrap();
    let accepted = one.accept(buy(lamp)).await.unwrap();
    let idle = two.worker(WorkerOptions::default());
    assert_eq!(
        idle.drain(&CancellationToken::new()).await.unwrap().total(),
        0
    );
    let worker = one.worker(WorkerOptions::default());
    assert_eq!(
        worker.drain(&CancellationToken::new()).await.unwrap().sold,
        1
    );

    for (shop, own, left) in [(&one, lamp, 0), (&two, other_lamp, 5)] {
        shop.store().check_writable().await.unwrap();
        let products = shop.products(&ProductQuery::default()).await.unwrap();
        let products: Vec<_> = products.items.iter().map(|p| (p.id, p.stock)).collect();
        assert_eq!(products, [(own, left)]);
        assert_eq!(shop.verify().await.unwrap(), []);
    }
    for id in [bought.id, accepted.id] {
        assert!(one.order(id).await.unwrap().is_some());
        assert!(two.order(id).await.unwrap().is_none());
    }
    let refused = two.purchase(buy(lamp)).await.unwrap_err();
    assert!(matches!(refused, Error::ProductNotFound(_)), "{refused:?}");
    let mut outside = PgConnection::connect(&url).await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let tables: i64 = sqlx::query_scalar(tables)
        .fetch_one(&mut outside)
        .await
        .unwrap();
    assert_eq!(tables, 0);
}
