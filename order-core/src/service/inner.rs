//! The parts that the clones of a service share, and the two ways to place orders with them.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::TaskTracker;

use super::shop_stats::LatestStats;
use crate::{
    audit::AuditStore,
    cache::CachedStore,
    clock::Clock,
    domain::{IdGenerator, NewOrder, Order, OrderId, OrderRequest, OrderVersion},
    error::Error,
    history::HistoryStore,
    keys::KeyStore,
    metrics::{self, part},
    process::TaskStore,
    queue::{OrderQueue, Topic},
    stats::StatsStore,
    store::{OrderStore, Outcome, ProductStore, Purchase, Store, Strategy},
    supervise::catch,
};

/// The parts of a service; shared by its clones, its groups and its workers.
pub(super) struct ServiceInner {
    pub(super) store: Arc<dyn Store>,
    /// The products of the store, behind the cache if there is one.
    pub(super) products: Arc<dyn ProductStore>,
    /// The orders of the store, behind the cache if there is one.
    pub(super) orders: Arc<dyn OrderStore>,
    pub(super) cached: Option<Arc<CachedStore>>,
    pub(super) queue: Option<Arc<dyn OrderQueue>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: IdGenerator,
    pub(super) strategy: Strategy,
    /// How long after a sale its task is claimed.
    pub(super) process_delay: Duration,
    /// Work that goes on after the response: offering orders to the queue.
    pub(super) background: TaskTracker,
    /// Notified after each commit of accepted orders: wakes the workers of this process.
    pub(super) accepted: Arc<Notify>,
    /// Notified after each commit of purchases: wakes the task loops of this process.
    pub(super) sold: Arc<Notify>,
    pub(super) latest_stats: LatestStats,
}

impl ServiceInner {
    /// Gives requests their ids and their time. They are decided in this order.
    pub(super) fn new_orders(&self, requests: Vec<OrderRequest>) -> Vec<NewOrder> {
        let now = self.clock.now();
        requests
            .into_iter()
            .map(|request| request.into_new_order(OrderId(self.ids.next(now)), now))
            .collect()
    }

    /// Sells orders, or not. After a panic the sales that it had begun may be done or not.
    pub(super) async fn purchase(&self, orders: &[NewOrder]) -> Result<Outcome<Purchase>, Error> {
        let bought = catch(part::GROUP, self.orders.purchase(orders, self.strategy));
        let bought = bought.await.unwrap_or_else(|panic| Err(panic.into()));
        // Again, since a panic passes by the cache's own call.
        match &self.cached {
            Some(cached) => {
                let wanted = orders.iter().flat_map(|order| &order.lines);
                cached.invalidate_if_unknown(bought, wanted.map(|line| line.product_id))
            }
            None => bought,
        }
    }

    /// Confirms held orders, and lets the task loops know. After a panic they may be confirmed or not.
    pub(super) async fn confirm(
        &self,
        ids: &[OrderId],
        at: DateTime<Utc>,
    ) -> Result<Vec<Result<Option<Order>, Error>>, Error> {
        let start = Instant::now();
        let confirmed = catch(part::GROUP, self.orders.confirm(ids, at)).await;
        let results = confirmed.unwrap_or_else(|panic| Err(panic.into()));
        let is_new = |order: &&Order| order.confirmed_at == Some(at);
        let count = |results: &Vec<Result<Option<Order>, Error>>| {
            let confirmed = results.iter().flatten().flatten();
            confirmed.filter(is_new).count()
        };
        metrics::confirmed(ids.len(), start.elapsed(), results.as_ref().map(count));
        self.sold.notify_one();
        results
    }

    /// Confirms a held order that is at one of these versions, and lets the task loops know.
    pub(super) async fn confirm_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        let start = Instant::now();
        let confirmed = self.orders.confirm_if(id, at, expected_versions).await;
        let transaction = match &confirmed {
            Ok(order) => Ok(order.iter().filter(|o| o.confirmed_at == Some(at)).count()),
            // The transaction failed.
            Err(error) if error.is_transient() || matches!(error, Error::Backend { .. }) => {
                Err(error)
            }
            // The order is refused.
            Err(_) => Ok(0),
        };
        metrics::confirmed(1, start.elapsed(), transaction);
        self.sold.notify_one();
        confirmed
    }

    /// Stores orders as pending, and lets the workers know. After a panic the orders that it had
    /// begun to store may be stored or not.
    pub(super) async fn accept(
        &self,
        orders: &[NewOrder],
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        let accepted = catch(part::GROUP, self.orders.accept(orders)).await;
        let results = accepted.unwrap_or_else(|panic| Err(panic.into()))?;
        let accepted: Vec<OrderId> = orders
            .iter()
            .zip(&results)
            .filter(|(order, result)| matches!(result, Ok(stored) if !order.is_replayed_by(stored)))
            .map(|(order, _)| order.id)
            .collect();
        if !accepted.is_empty() {
            self.offer(accepted);
        }
        Ok(results)
    }

    /// Offers new orders to the workers. They are stored, so that nothing here may fail or delay
    /// the response: orders that do not arrive are found by the sweeper.
    fn offer(&self, accepted: Vec<OrderId>) {
        let notify = Arc::clone(&self.accepted);
        let Some(queue) = self.queue.clone() else {
            notify.notify_one();
            return;
        };
        self.background.spawn(async move {
            let offered = catch(part::OFFER, queue.push(Topic::Validate, &accepted)).await;
            if let Ok(Err(error)) = offered {
                // The queue logs by itself when it begins to fail, and when it ends.
                tracing::debug!(%error, orders = accepted.len(), "orders were not offered");
            }
            notify.notify_one();
        });
    }

    pub(super) fn key_store(&self) -> Result<Arc<dyn KeyStore>, Error> {
        let keys = Arc::clone(&self.store).key_store();
        keys.ok_or(Error::Unsupported { what: "API keys" })
    }

    pub(super) fn history_store(&self) -> Result<Arc<dyn HistoryStore>, Error> {
        let history = Arc::clone(&self.store).history_store();
        history.ok_or(Error::Unsupported { what: "an archive" })
    }

    pub(super) fn audit_store(&self) -> Result<Arc<dyn AuditStore>, Error> {
        let audit = Arc::clone(&self.store).audit_store();
        audit.ok_or(Error::Unsupported {
            what: "an audit log",
        })
    }

    pub(super) fn task_store(&self) -> Result<Arc<dyn TaskStore>, Error> {
        let tasks = Arc::clone(&self.store).task_store();
        tasks.ok_or(Error::Unsupported { what: "tasks" })
    }

    pub(super) fn stats_store(&self) -> Result<Arc<dyn StatsStore>, Error> {
        let stats = Arc::clone(&self.store).stats_store();
        stats.ok_or(Error::Unsupported { what: "figures" })
    }
}
