//! The backend of the example, which only sells, through the suite and behind the service.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use order_core::{
    CancellationToken, Error, OrderService, WorkerOptions,
    cache::{CacheStatus, LocalCache},
    domain::{OrderRequest, OrderStatus, ProductRequest, Quantity},
    keys::KeyRequest,
    queue::{DeadQuery, Topic},
    store::{Store, Strategy},
    testing::conformance::{self, Time},
};

#[allow(dead_code)] // Its `main` is run by people.
#[path = "../../examples/custom_store.rs"]
mod custom_store;

use custom_store::MemoryStore;

struct Clock(Arc<MemoryStore>);

#[async_trait]
impl Time for Clock {
    async fn advance(&self, by: TimeDelta) {
        self.0.advance(by);
    }
}

#[tokio::test]
async fn a_store_that_only_sells_conforms() {
    conformance::products_and_orders(&async || {
        let store = Arc::new(MemoryStore::default());
        let time: Arc<dyn Time> = Arc::new(Clock(Arc::clone(&store)));
        (store as Arc<dyn Store>, time)
    })
    .await;
}

#[tokio::test]
async fn a_store_that_only_sells_sells_behind_the_service() {
    let shop = OrderService::builder(Arc::new(MemoryStore::default()))
        .cache(Arc::new(LocalCache::new(std::time::Duration::from_secs(1))))
        .build();
    let lamp = ProductRequest::new("Lamp", "19.99".parse().unwrap(), 2, None).unwrap();
    let lamp = shop.create_product(lamp).await.unwrap().id;
    let one = || OrderRequest::one(lamp, Quantity::new(1).unwrap());
    let stock = async || {
        let (product, status) = shop.read_product(lamp).await.unwrap();
        (product.unwrap().stock, status)
    };
    assert_eq!(stock().await, (2, CacheStatus::Miss));
    let bought = shop.purchase(one()).await.unwrap();
    assert_eq!(bought.status, OrderStatus::Success);
    assert_eq!(stock().await, (1, CacheStatus::Hit));
    let (last, late) = (
        shop.accept(one()).await.unwrap(),
        shop.accept(one()).await.unwrap(),
    );
    let waiting = shop.topic_stats(Topic::Validate).await.unwrap();
    assert_eq!(waiting.stats.waiting, 2);
    let worker = shop.worker(WorkerOptions::default());
    let decided = worker.drain(&CancellationToken::new()).await.unwrap();
    assert_eq!((decided.sold, decided.failed), (1, 1));
    assert_eq!(stock().await, (0, CacheStatus::Hit));
    let status = async |id| shop.order(id).await.unwrap().unwrap().status;
    assert_eq!(status(last.id).await, OrderStatus::Success);
    assert_eq!(status(late.id).await, OrderStatus::Failed);
    assert_eq!(shop.verify().await.unwrap(), []);
}

#[tokio::test]
async fn a_worker_has_the_strategy_of_its_service_unless_it_is_given_another() {
    let shop = OrderService::builder(Arc::new(MemoryStore::default()))
        .strategy(Strategy::RowLock)
        .build();
    let shown = |options| format!("{:?}", shop.worker(options));
    let inherited = shown(WorkerOptions::default());
    assert!(inherited.contains("RowLock"), "{inherited}");
    let other = WorkerOptions::default().with_strategy(Strategy::ConditionalUpdate);
    assert!(shown(other).contains("ConditionalUpdate"));
}

/// Each by an error that says so.
#[tokio::test]
async fn the_service_refuses_what_the_store_does_not_keep() {
    let shop = OrderService::builder(Arc::new(MemoryStore::default())).build();
    let key = KeyRequest::new("key", "read".parse().unwrap()).unwrap();
    let order = order_core::domain::OrderId(uuid::Uuid::nil());
    for (refused, text) in [
        (shop.keys().await.err(), "API keys"),
        (shop.create_key(key).await.err(), "API keys"),
        (shop.stats().await.err(), "figures"),
        (shop.workers().await.err(), "heartbeats of workers"),
        (shop.process_order(order).await.err(), "tasks"),
        (shop.task_history(order).await.err(), "tasks"),
        (shop.pause(Topic::Validate).await.err(), "queues"),
        (
            shop.dead_letters(Topic::Process, &DeadQuery::latest(9))
                .await
                .err(),
            "queues",
        ),
    ] {
        let error = refused.unwrap();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("the store does not keep {text}"));
    }
}
