//! The reference store, as a store with every part.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{queue::ReferenceQueue, state::State};
use crate::{
    audit::AuditStore,
    domain::{Order, OrderLine},
    error::Error,
    heartbeat::WorkerStore,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
    store::Store,
    testing::conformance::Time,
    verify::{Discrepancy, Verification, VerifyOptions},
};

/// A store in memory that loses everything with the process. For tests. Its clock is the
/// machine's until it is moved.
#[derive(Clone, Debug, Default)]
pub struct ReferenceStore {
    pub(super) state: Arc<Mutex<State>>,
}

#[async_trait]
impl Time for ReferenceStore {
    async fn advance(&self, by: TimeDelta) {
        self.state.lock().unwrap().ahead += by;
    }

    fn now(&self) -> DateTime<Utc> {
        self.state.lock().unwrap().now()
    }
}

#[async_trait]
impl Store for ReferenceStore {
    fn key_store(self: Arc<Self>) -> Option<Arc<dyn KeyStore>> {
        Some(self)
    }

    fn task_store(self: Arc<Self>) -> Option<Arc<dyn TaskStore>> {
        Some(self)
    }

    fn worker_store(self: Arc<Self>) -> Option<Arc<dyn WorkerStore>> {
        Some(self)
    }

    fn stats_store(self: Arc<Self>) -> Option<Arc<dyn StatsStore>> {
        Some(self)
    }

    fn audit_store(self: Arc<Self>) -> Option<Arc<dyn AuditStore>> {
        Some(self)
    }

    fn queue(&self) -> Option<Arc<dyn OrderQueue>> {
        Some(Arc::new(ReferenceQueue::new(Arc::clone(&self.state))))
    }

    async fn verify_with(&self, _options: &VerifyOptions) -> Result<Verification, Error> {
        let state = self.state.lock().unwrap();
        let products = state.products.values().chain(state.archived.values());
        let adjusted = |id| {
            let own = state.adjustments.iter().filter(|(of, _)| *of == id);
            own.map(|(_, delta)| delta).sum()
        };
        let holding = |order: &&Order| order.status.holds_stock();
        let held = |id| {
            let lines = state.orders.values().filter(holding);
            let lines = lines.flat_map(|order| &order.lines);
            let own = lines.filter(|line| line.product_id == id);
            own.map(OrderLine::kept).sum()
        };
        let books = products.filter_map(|product| {
            let id = product.id;
            Discrepancy::of_stock(id.0, product.stock, adjusted(id), held(id))
        });
        Ok(books.collect())
    }
}
