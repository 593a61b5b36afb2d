//! Workers: what they do with a queue that loses everything, with claims that nobody
//! finishes, and with an order that cannot be decided.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{sync::Arc, time::Duration};

use order_core::{
    OrderService, WorkerOptions,
    domain::{OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity},
    queue::{OrderQueue, Topic},
    store::{SqliteStore, Store},
    testing::load::wait_until_decided,
};
use sqlx::SqlitePool;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

struct Shop {
    service: OrderService,
    store: Arc<dyn Store>,
    queue: Arc<dyn OrderQueue>,
    /// A way into the file, past the store.
    file: SqlitePool,
    product: ProductId,
}

/// A shop with 1 000 pieces whose orders go through the queue when `queued`.
async fn shop(queued: bool) -> Shop {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let queue: Arc<dyn OrderQueue> = Arc::new(store.queue());
    let store: Arc<dyn Store> = Arc::new(store);
    let mut builder = OrderService::builder(Arc::clone(&store));
    if queued {
        builder = builder.queue(Arc::clone(&queue));
    }
    let service = builder.build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 1_000, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    let file = SqlitePool::connect(&url).await.unwrap();
    Shop {
        service,
        store,
        queue,
        file,
        product,
    }
}

impl Shop {
    async fn accept(&self, orders: usize) {
        let one = OrderRequest::one(self.product, Quantity::new(1).unwrap());
        for result in self.service.accept_all(vec![one; orders]).await {
            result.unwrap();
        }
    }

    /// Waits until the queue was told, which happens after the answer.
    async fn offered(&self, orders: u64) {
        while self.queue.stats(Topic::Validate).await.unwrap().waiting < orders {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn decided_by_a_worker(&self, options: WorkerOptions) -> u64 {
        let stop = CancellationToken::new();
        let (worker, told) = (self.service.worker(options), stop.clone());
        let worker = tokio::spawn(async move { worker.run(told).await });
        wait_until_decided(&self.store, LIMIT).await;
        stop.cancel();
        worker.await.unwrap().total()
    }
}

#[tokio::test]
async fn the_sweeper_finds_what_the_queue_lost() {
    let shop = shop(true).await;
    shop.accept(100).await;
    shop.offered(100).await;
    sqlx::query("DELETE FROM queue_entries")
        .execute(&shop.file)
        .await
        .unwrap();
    let options = WorkerOptions::default()
        .with_sweep_interval(Duration::from_millis(20))
        .with_sweep_age(Duration::ZERO);
    assert_eq!(shop.decided_by_a_worker(options).await, 100);
}

#[tokio::test]
async fn claims_that_nobody_finishes_are_taken_over() {
    let shop = shop(true).await;
    shop.accept(100).await;
    shop.offered(100).await;
    let lease = Duration::from_millis(300);
    let lost = shop
        .queue
        .claim(Topic::Validate, 60, lease, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(lost.len(), 60);
    assert_eq!(
        shop.decided_by_a_worker(WorkerOptions::default()).await,
        100
    );
    let stats = shop.queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight), (0, 0));
}

/// An order whose stored line is damaged fails its batch. The others are decided; it stays.
#[tokio::test]
async fn an_order_that_cannot_be_decided_does_not_stop_the_rest() {
    for queued in [false, true] {
        let shop = shop(queued).await;
        shop.accept(20).await;
        let mut connection = shop.file.acquire().await.unwrap();
        for damage in [
            "PRAGMA ignore_check_constraints = on",
            "DROP TRIGGER order_lines_keep",
            "UPDATE order_lines SET quantity = 0
             WHERE order_id = (SELECT id FROM orders ORDER BY id LIMIT 1 OFFSET 3)",
        ] {
            sqlx::query(damage).execute(&mut *connection).await.unwrap();
        }
        if queued {
            shop.offered(20).await;
        }
        let stop = CancellationToken::new();
        let (worker, told) = (shop.service.worker(WorkerOptions::default()), stop.clone());
        let worker = tokio::spawn(async move { worker.run(told).await });
        let start = std::time::Instant::now();
        loop {
            let pending: i64 =
                sqlx::query_scalar("SELECT count(*) FROM orders WHERE status = 'pending'")
                    .fetch_one(&shop.file)
                    .await
                    .unwrap();
            if pending == 1 {
                break;
            }
            assert!(
                start.elapsed() < LIMIT,
                "queued: {queued}: {pending} are pending"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        assert_eq!(worker.await.unwrap().sold, 19, "queued: {queued}");
    }
}

#[tokio::test]
async fn an_accepted_order_is_decided_without_waiting_for_a_poll() {
    let shop = shop(false).await;
    let options = WorkerOptions::default().with_idle_poll(Duration::from_secs(3_600));
    let stop = CancellationToken::new();
    let (worker, told) = (shop.service.worker(options), stop.clone());
    let worker = tokio::spawn(async move { worker.run(told).await });
    for _ in 0..3 {
        shop.accept(1).await;
        wait_until_decided(&shop.store, LIMIT).await;
    }
    stop.cancel();
    assert_eq!(worker.await.unwrap().sold, 3);
    let orders = shop.store.orders(&Default::default()).await.unwrap().items;
    assert!(
        orders
            .iter()
            .all(|order| order.status == OrderStatus::Success)
    );
}
