//! The fixture of a check.

use std::{future::Future, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};

use super::time::Time;
use crate::{
    audit::AuditStore,
    domain::{
        AdjustmentId, IdGenerator, NewOrder, OrderId, OrderRequest, Product, ProductId,
        ProductRequest, Quantity, RequestedLine,
    },
    error::Error,
    heartbeat::WorkerStore,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
    store::Store,
};

/// The things that a check works with: the store and its time, and a source of ids at the one point
/// in time at which orders are made.
pub(super) struct Fixture {
    pub(super) store: Arc<dyn Store>,
    pub(super) time: Arc<dyn Time>,
    pub(super) ids: IdGenerator,
    pub(super) at: DateTime<Utc>,
}

/// A fixture over a new store.
pub(super) async fn fixture<F, Fut>(fresh: &F) -> Fixture
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn Store>, Arc<dyn Time>)>,
{
    let (store, time) = fresh().await;
    Fixture {
        store,
        time,
        ids: IdGenerator::default(),
        at: start(),
    }
}

/// The time at which everything happens that tests make.
#[must_use]
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap()
}

impl Fixture {
    pub(super) fn keys(&self) -> Arc<dyn KeyStore> {
        let keys = Arc::clone(&self.store).key_store();
        keys.expect("the store keeps API keys")
    }

    pub(super) fn audit(&self) -> Arc<dyn AuditStore> {
        let audit = Arc::clone(&self.store).audit_store();
        audit.expect("the store keeps an audit log")
    }

    pub(super) fn tasks(&self) -> Arc<dyn TaskStore> {
        let tasks = Arc::clone(&self.store).task_store();
        tasks.expect("the store keeps tasks")
    }

    pub(super) fn workers(&self) -> Arc<dyn WorkerStore> {
        let workers = Arc::clone(&self.store).worker_store();
        workers.expect("the store keeps heartbeats")
    }

    pub(super) fn stats(&self) -> Arc<dyn StatsStore> {
        let stats = Arc::clone(&self.store).stats_store();
        stats.expect("the store keeps figures")
    }

    pub(super) fn queue(&self) -> Arc<dyn OrderQueue> {
        self.store.queue().expect("the store is a queue")
    }

    pub(super) async fn product(&self, name: &str, stock: i64) -> Product {
        let request = ProductRequest::new(name, "2.50".parse().unwrap(), stock, None).unwrap();
        self.create(request).await.unwrap()
    }

    pub(super) async fn create(&self, request: ProductRequest) -> Result<Product, Error> {
        let product = request.into_new_product(
            ProductId(self.ids.next(self.at)),
            self.adjustment_id(),
            self.at,
        );
        self.store.create_product(&product).await
    }

    /// Lets time go by for the store.
    pub(super) async fn wait(&self, seconds: i64) {
        self.time.advance(TimeDelta::seconds(seconds)).await;
    }

    pub(super) async fn stock(&self, id: ProductId) -> i64 {
        self.store.product(id).await.unwrap().unwrap().stock
    }

    pub(super) async fn books_balance(&self) {
        assert_eq!(self.store.verify().await.unwrap(), []);
    }

    pub(super) fn adjustment_id(&self) -> AdjustmentId {
        AdjustmentId(self.ids.next(self.at))
    }

    pub(super) fn order(&self, lines: &[(ProductId, i64)]) -> NewOrder {
        let lines = lines
            .iter()
            .map(|(product_id, quantity)| RequestedLine {
                product_id: *product_id,
                quantity: Quantity::new(*quantity).unwrap(),
            })
            .collect();
        let request = OrderRequest::new(lines, Some("reference".to_owned())).unwrap();
        request.into_new_order(OrderId(self.ids.next(self.at)), self.at)
    }

    pub(super) fn orders(&self, count: usize, lines: &[(ProductId, i64)]) -> Vec<NewOrder> {
        (0..count).map(|_| self.order(lines)).collect()
    }
}
