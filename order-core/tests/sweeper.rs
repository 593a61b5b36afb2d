//! The sweeper with a backlog of more than it offers at once, several workers, and a queue that
//! loses everything.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use order_core::{
    Error, OrderService, WorkerOptions,
    domain::OrderId,
    queue::{DeadLetter, Lease, OrderQueue, QueueStats, RedisQueue, Topic},
    store::OrderStore,
    testing::RedisServer,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const ORDERS: usize = 30_000;
const AGE: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_millis(200);

/// The times at which each order was offered, by whomever.
type Offers = Arc<Mutex<HashMap<OrderId, Vec<Instant>>>>;

/// The queue of one worker, which notes what is offered to it.
struct Noted {
    queue: RedisQueue,
    offers: Offers,
}

#[async_trait]
impl OrderQueue for Noted {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let now = Instant::now();
        {
            let mut offers = self.offers.lock().unwrap();
            for order in orders {
                offers.entry(*order).or_default().push(now);
            }
        }
        self.queue.push(topic, orders).await
    }

    async fn may_sweep(&self, topic: Topic, term: Duration) -> Result<bool, Error> {
        self.queue.may_sweep(topic, term).await
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        self.queue.claim(topic, max, lease, wait).await
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        self.queue.ack(topic, leases).await
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        self.queue.retry(topic, leases, delay).await
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        self.queue.dead_letter(topic, leases, reason).await
    }

    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.queue.dead(topic, limit).await
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        self.queue.redrive(topic, orders).await
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        self.queue.pause(topic).await
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        self.queue.resume(topic).await
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        self.queue.stats(topic).await
    }
}

/// A worker with a queue of its own.
fn hire(
    shop: &shop::Shop,
    redis: &RedisServer,
    offers: &Offers,
) -> (CancellationToken, JoinHandle<()>) {
    let queue = Arc::new(Noted {
        queue: RedisQueue::new(redis.client()),
        offers: Arc::clone(offers),
    });
    let service = OrderService::builder(Arc::new(shop.store.clone()));
    let worker = service.queue(queue).build().worker(
        WorkerOptions::default()
            .with_sweep_interval(INTERVAL)
            .with_sweep_age(AGE),
    );
    let stop = CancellationToken::new();
    let told = stop.clone();
    let running = tokio::spawn(async move {
        worker.run(told).await;
    });
    (stop, running)
}

/// Waits until all orders are on the queue.
async fn is_full(queue: &RedisQueue) {
    let began = Instant::now();
    loop {
        let stats = queue.stats(Topic::Validate).await.unwrap();
        if stats.waiting == ORDERS as u64 {
            return;
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(10), "{stats:?} after {took:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_is_offered_once_in_a_while_however_many_wait_and_work() {
    let shop = shop::shop(1).await;
    let redis = RedisServer::start();
    let queue = RedisQueue::new(redis.client());
    // This service has no queue: nothing is offered but by sweepers.
    for accepted in shop.service.accept_all(vec![shop.order(); ORDERS]).await {
        accepted.unwrap();
    }
    shop.service.pause(Topic::Validate).await.unwrap();
    // Who comes of age in a pass is offered at once, and again in the next.
    let of_age = async || shop.store.pending_for(AGE, None, ORDERS).await.unwrap();
    while of_age().await.len() < ORDERS {
        tokio::time::sleep(INTERVAL).await;
    }
    let offers = Offers::default();
    let mut workers: Vec<_> = (0..3).map(|_| hire(&shop, &redis, &offers)).collect();
    is_full(&queue).await;
    let began = Instant::now();
    while began.elapsed() < 3 * AGE {
        tokio::time::sleep(INTERVAL).await;
    }
    let offered: Vec<Vec<Instant>> = offers.lock().unwrap().values().cloned().collect();
    assert_eq!(offered.len(), ORDERS);
    let pushes: usize = offered.iter().map(Vec::len).sum();
    let most = offered.iter().map(Vec::len).max().unwrap();
    let between = offered.iter().flat_map(|times| times.windows(2));
    let closest = between.map(|pair| pair[1] - pair[0]).min().unwrap();
    eprintln!("{pushes} offers, at most {most} of one, {closest:?} apart or more");
    assert!(closest >= AGE - INTERVAL, "offered again after {closest:?}");
    // Whatever is lost comes back, also when the one who swept is gone.
    while let Some((stop, running)) = workers.pop() {
        redis.flush();
        is_full(&queue).await;
        stop.cancel();
        running.await.unwrap();
    }
}
