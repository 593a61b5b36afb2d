//! Several servers and workers on one Postgres, whose clocks are a minute apart: what they compare
//! goes by the clock of the database.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use order_core::{
    Error, OrderService, Worker, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity},
    heartbeat::WorkerState,
    process::{OrderProcessor, ProcessError, ProcessOptions, Processing, Task},
    queue::{DeadFilter, DeadLetter, DeadQuery, DeadSummary, Lease, OrderQueue, QueueStats, Topic},
    testing::PostgresServer,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);
/// The error of a clock in these tests: longer than any lease, delay or age.
const OFF: TimeDelta = TimeDelta::seconds(60);
/// The delay with which something may happen on a busy machine; much less than `OFF`.
const SLACK: Duration = Duration::from_secs(10);

/// The clock of a machine that is wrong.
struct WrongClock {
    by: TimeDelta,
}

impl Clock for WrongClock {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.by
    }
}

/// One shop on one database, by servers with connections of their own.
struct Shop {
    url: String,
    product: ProductId,
}

async fn shop() -> Shop {
    let url = PostgresServer::shared().database().await;
    let mut shop = Shop {
        url,
        product: ProductId(uuid::Uuid::nil()),
    };
    let product = ProductRequest::new("p", "1".parse().unwrap(), 1_000, None).unwrap();
    let server = shop.server(TimeDelta::zero()).await;
    shop.product = server.create_product(product).await.unwrap().id;
    shop
}

impl Shop {
    async fn server(&self, by: TimeDelta) -> OrderService {
        let store = order_core::store::connect(&self.url).await.unwrap();
        let clock = Arc::new(WrongClock { by });
        OrderService::builder(store).clock(clock).build()
    }

    fn one(&self) -> OrderRequest {
        OrderRequest::one(self.product, Quantity::new(1).unwrap())
    }
}

fn start(worker: Worker) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let told = stop.clone();
    let running = tokio::spawn(async move {
        worker.run(told).await;
    });
    (stop, running)
}

/// Looks again and again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < LIMIT, "not so after {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Notes when each order was delivered.
struct Deliveries {
    takes: Duration,
    begun: Mutex<BTreeMap<OrderId, Vec<Instant>>>,
}

impl Deliveries {
    fn new(takes: Duration) -> Arc<Self> {
        let begun = Mutex::default();
        Arc::new(Self { takes, begun })
    }

    fn begun(&self) -> BTreeMap<OrderId, Vec<Instant>> {
        self.begun.lock().unwrap().clone()
    }
}

#[async_trait]
impl OrderProcessor for Deliveries {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        let begun = Instant::now();
        self.begun
            .lock()
            .unwrap()
            .entry(task.order.id)
            .or_default()
            .push(begun);
        tokio::time::sleep(self.takes).await;
        Ok(())
    }
}

fn processing(deliveries: &Arc<Deliveries>, delay: Duration) -> Processing {
    Processing {
        processor: Arc::clone(deliveries) as Arc<dyn OrderProcessor>,
        options: ProcessOptions::default()
            .with_concurrency(4)
            .with_delay(delay)
            // Its lease is half a minute, and so shorter than the clocks are apart.
            .with_timeout(Duration::from_secs(20))
            .with_idle_poll(Duration::from_millis(20)),
    }
}

/// To a worker that went by a clock of its own, the other's leases would have run out.
#[tokio::test(flavor = "multi_thread")]
async fn workers_whose_clocks_differ_deliver_each_sale_once() {
    const SALES: usize = 30;
    let shop = shop().await;
    let deliveries = Deliveries::new(Duration::from_millis(300));
    let mut workers = Vec::new();
    for by in [OFF, TimeDelta::zero(), -OFF] {
        let server = shop.server(by).await;
        let worker = server
            .worker(WorkerOptions::default())
            .processing(processing(&deliveries, Duration::ZERO));
        workers.push(start(worker));
        for _ in 0..SALES / 3 {
            server.purchase(shop.one()).await.unwrap();
        }
    }
    let server = shop.server(TimeDelta::zero()).await;
    until("all are completed", async || {
        let orders = server.orders(&Default::default()).await.unwrap().items;
        let completed = |status| status == OrderStatus::Completed;
        orders.iter().all(|order| completed(order.status)) && deliveries.begun().len() == SALES
    })
    .await;
    for (stop, running) in workers {
        stop.cancel();
        running.await.unwrap();
    }
    let begun = deliveries.begun();
    let times: Vec<usize> = begun.values().map(Vec::len).collect();
    assert_eq!(times, [1; SALES], "how often each was delivered");
}

/// Neither earlier nor later, whatever the clock of its seller says, and whichever way it sold.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_out_its_delay_whoever_sold_it() {
    const DELAY: Duration = Duration::from_millis(500);
    let shop = shop().await;
    let deliveries = Deliveries::new(Duration::ZERO);
    let other = shop.server(TimeDelta::zero()).await;
    let worker = Worker::new(
        Arc::clone(other.store()),
        // It decides nothing, so that the sellers do.
        Some(Arc::new(Forgetful::default())),
        Arc::new(SystemClock),
        WorkerOptions::default(),
    );
    let worker = start(worker.processing(processing(&deliveries, DELAY)));
    let mut sold = Vec::new();
    for by in [OFF, -OFF] {
        let seller = shop.server(by).await;
        let began = Instant::now();
        sold.push((seller.purchase(shop.one()).await.unwrap().id, began));
        let began = Instant::now();
        sold.push((seller.accept(shop.one()).await.unwrap().id, began));
        let decider = seller.worker(WorkerOptions::default());
        let decided = decider.drain(&CancellationToken::new()).await.unwrap();
        assert_eq!(decided.sold, 1);
    }
    let begun = async || deliveries.begun().len() == sold.len();
    until("all are begun", begun).await;
    worker.0.cancel();
    worker.1.await.unwrap();
    let begun = deliveries.begun();
    for (id, began) in sold {
        let waited = begun[&id][0] - began;
        assert!(waited >= DELAY && waited < DELAY + SLACK, "{waited:?}");
    }
}

/// Whoever asks: a worker whose clock is behind is not dead for it, and one that ended well is
/// not alive.
#[tokio::test(flavor = "multi_thread")]
async fn workers_whose_clocks_are_wrong_are_alive() {
    let shop = shop().await;
    let mut servers = Vec::new();
    for by in [OFF, -OFF] {
        let server = shop.server(by).await;
        let worker = start(server.worker(WorkerOptions::default()));
        servers.push((server, worker));
    }
    let states = async |server: &OrderService| -> Vec<WorkerState> {
        let known = server.workers().await.unwrap();
        known.iter().map(|worker| worker.state()).collect()
    };
    let told = async || states(&servers[0].0).await.len() == 2;
    until("both told of themselves", told).await;
    for (server, _) in &servers {
        assert_eq!(states(server).await, [WorkerState::Alive; 2]);
        let known = server.workers().await.unwrap();
        let apart = (known[0].heartbeat_at - known[1].heartbeat_at).abs();
        assert!(apart < OFF / 2, "{known:?}");
    }
    for (server, (stop, running)) in servers {
        stop.cancel();
        running.await.unwrap();
        assert!(states(&server).await.contains(&WorkerState::Stopped));
    }
}

/// A queue that loses everything, and notes when it was offered.
#[derive(Default)]
struct Forgetful {
    offered: Mutex<BTreeMap<OrderId, Instant>>,
}

#[async_trait]
impl OrderQueue for Forgetful {
    async fn push(&self, _: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let mut offered = self.offered.lock().unwrap();
        for id in orders {
            offered.entry(*id).or_insert_with(Instant::now);
        }
        Ok(orders.len())
    }

    async fn claim(
        &self,
        _: Topic,
        _: usize,
        _: Duration,
        _: Duration,
    ) -> Result<Vec<Lease>, Error> {
        Ok(Vec::new())
    }

    async fn ack(&self, _: Topic, _: Vec<Lease>) -> Result<usize, Error> {
        Ok(0)
    }

    async fn retry(&self, _: Topic, _: Vec<Lease>, _: Duration) -> Result<usize, Error> {
        Ok(0)
    }

    async fn dead_letter(&self, _: Topic, _: Vec<Lease>, _: &str) -> Result<usize, Error> {
        Ok(0)
    }

    async fn dead(&self, _: Topic, _: &DeadQuery) -> Result<Vec<DeadLetter>, Error> {
        Ok(Vec::new())
    }

    async fn dead_summary(&self, _: Topic, _: &DeadFilter, _: usize) -> Result<DeadSummary, Error> {
        Ok(DeadSummary::default())
    }

    async fn redrive(&self, _: Topic, _: &[OrderId]) -> Result<usize, Error> {
        Ok(0)
    }

    async fn pause(&self, _: Topic) -> Result<(), Error> {
        Ok(())
    }

    async fn resume(&self, _: Topic) -> Result<(), Error> {
        Ok(())
    }

    async fn stats(&self, _: Topic) -> Result<QueueStats, Error> {
        Ok(QueueStats::default())
    }
}

/// What another server accepted a moment ago, whose clock is behind, is not offered again for it;
/// what one accepted whose clock is ahead is not left for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_offers_what_has_been_pending_for_long() {
    const AGE: Duration = Duration::from_secs(1);
    let shop = shop().await;
    let queue = Arc::new(Forgetful::default());
    let right = shop.server(TimeDelta::zero()).await;
    let options = WorkerOptions::default()
        .with_sweep_interval(Duration::from_millis(20))
        .with_sweep_age(AGE);
    let sweeping = start(Worker::new(
        Arc::clone(right.store()),
        Some(Arc::clone(&queue) as Arc<dyn OrderQueue>),
        Arc::new(SystemClock),
        options,
    ));
    let mut accepted = Vec::new();
    for by in [OFF, TimeDelta::zero(), -OFF] {
        let server = shop.server(by).await;
        let began = Instant::now();
        accepted.push((server.accept(shop.one()).await.unwrap().id, began));
    }
    let offered = async || queue.offered.lock().unwrap().len() == accepted.len();
    until("all are offered", offered).await;
    sweeping.0.cancel();
    sweeping.1.await.unwrap();
    let offered = queue.offered.lock().unwrap();
    for (id, began) in accepted {
        let after = offered[&id] - began;
        assert!(after >= AGE && after < AGE + SLACK, "{after:?}");
    }
}
