//! The reference store, as a store with every part.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::TimeDelta;

use super::{queue::ReferenceQueue, state::State};
use crate::{
    audit::AuditStore,
    error::Error,
    heartbeat::WorkerStore,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
    store::{StockDiscrepancy, Store},
    testing::conformance::Time,
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

    async fn verify(&self) -> Result<Vec<StockDiscrepancy>, Error> {
        let state = self.state.lock().unwrap();
        let products = state.products.values().chain(state.archived.values());
        Ok(products
            .map(|product| StockDiscrepancy {
                product_id: product.id,
                stock: product.stock,
                adjusted: state
                    .adjustments
                    .iter()
                    .filter(|(id, _)| *id == product.id)
                    .map(|(_, delta)| delta)
                    .sum(),
                held: state
                    .orders
                    .values()
                    .filter(|order| order.status.holds_stock())
                    .flat_map(|order| &order.lines)
                    .filter(|line| line.product_id == product.id)
                    .map(|line| line.quantity.get())
                    .sum(),
            })
            .filter(|books| books.stock != books.adjusted - books.held)
            .collect())
    }
}
