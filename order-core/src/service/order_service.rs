//! The service itself, and what all of its operations need.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    admission::AdmissionControl, backend_sampler::BackendSampler, detached::spawn_detached,
    group_commit::GroupCommit, inner::ServiceInner, request_queue::RequestQueue,
};
use crate::{
    audit,
    domain::{Order, OrderId},
    error::Error,
    store::Store,
    verify::{Discrepancy, Verification, VerifyOptions},
    watch::{Orders, Products, Watcher},
    worker::{Compaction, Worker, WorkerOptions},
};

/// Products and orders. Cheap to clone; every clone shares the same groups.
#[derive(Clone)]
pub struct OrderService {
    pub(super) inner: Arc<ServiceInner>,
    pub(super) accepts: GroupCommit,
    pub(super) purchases: GroupCommit,
    pub(super) confirmations: RequestQueue<OrderId, Option<Order>>,
    /// Admits orders that have a transaction of their own.
    pub(super) admission: Arc<AdmissionControl>,
    pub(super) watcher: Watcher<Orders>,
    pub(super) product_watcher: Watcher<Products>,
    pub(super) sampler: Arc<BackendSampler>,
    /// Goes on until the last clone and the last worker are gone.
    pub(super) compaction: Option<Arc<Compaction>>,
}

impl OrderService {
    /// The store below, past the cache.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// A worker that decides orders of this service, and of any other on the same database. Its
    /// strategy is that of this service, unless `options` name another.
    #[must_use]
    pub fn worker(&self, mut options: WorkerOptions) -> Worker {
        let inner = &self.inner;
        options.strategy.get_or_insert(inner.strategy);
        Worker::of_service(
            Arc::clone(&inner.store),
            Arc::clone(&inner.orders),
            inner.queue.clone(),
            Arc::clone(&inner.clock),
            options,
        )
        .woken_by(Arc::clone(&inner.accepted))
        .woken_by_sales(Arc::clone(&inner.sold))
        .waking(self.watcher.wake())
        .keeping(self.compaction.clone())
    }

    /// Whatever is not as promised of what is stored, of all orders.
    ///
    /// # Errors
    /// The backend's.
    pub async fn verify(&self) -> Result<Vec<Discrepancy>, Error> {
        self.inner.store.verify().await
    }

    /// The same of the orders that `options` name, with what was looked at.
    ///
    /// # Errors
    /// The backend's.
    pub async fn verify_with(&self, options: &VerifyOptions) -> Result<Verification, Error> {
        self.inner.store.verify_with(options).await
    }

    /// Waits, for up to `limit`, until the work that goes on after responses is done: offering
    /// orders to the queue, and invalidating entries of the cache. For a process that is about to
    /// end.
    pub async fn settle(&self, limit: Duration) {
        let inner = &self.inner;
        inner.background.close();
        let cached = async {
            if let Some(cached) = &inner.cached {
                cached.settle().await;
            }
        };
        let all = async { tokio::join!(inner.background.wait(), cached) };
        let settled = tokio::time::timeout(limit, all).await;
        inner.background.reopen();
        if let (Err(_), Some(cached)) = (settled, &inner.cached)
            && cached.pending_invalidations() > 0
        {
            let products = cached.pending_invalidations();
            tracing::warn!(products, "the cache does not know of all that changed");
        }
    }

    /// Runs a change to its completion, also when the caller stops waiting, in the name of its author.
    pub(super) async fn run_to_completion<T: Send + 'static, F>(
        &self,
        change: impl FnOnce(Arc<ServiceInner>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let author = audit::author();
        spawn_detached(audit::by(author, change(Arc::clone(&self.inner)))).await
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }
}

impl fmt::Debug for OrderService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderService")
            .field("strategy", &self.inner.strategy)
            .field("has_queue", &self.inner.queue.is_some())
            .field("has_cache", &self.inner.cached.is_some())
            .finish_non_exhaustive()
    }
}
