//! The sweeper with a backlog of more than it offers at once, several workers, and a queue that
//! loses everything.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod hooked_queue;
mod shop;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hooked_queue::{Call, HookedQueue};
use order_core::{
    OrderService, WorkerOptions,
    domain::OrderId,
    queue::{OrderQueue, RedisQueue, Topic},
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

/// A worker with a queue of its own.
fn hire(
    shop: &shop::Shop,
    redis: &RedisServer,
    offers: &Offers,
) -> (CancellationToken, JoinHandle<()>) {
    let offers = Arc::clone(offers);
    let queue = Arc::new(HookedQueue {
        queue: RedisQueue::new(redis.client()),
        before: move |call: Call<'_>| {
            if let Call::Push(orders) = call {
                let now = Instant::now();
                let mut offers = offers.lock().unwrap();
                for order in orders {
                    offers.entry(*order).or_default().push(now);
                }
            }
        },
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
