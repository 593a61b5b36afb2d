//! Following orders until they are decided, and beyond.

use std::time::Duration;

use super::OrderService;
use crate::{
    domain::{Order, OrderId, OrderStatus},
    error::Error,
    watch::{Watch, WatchStats},
};

impl OrderService {
    /// Watches an order for the states that it comes to, whichever process makes it so.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when [`max_watched`](super::Builder::max_watched) orders are.
    pub fn watch(&self, id: OrderId) -> Result<Watch, Error> {
        self.watcher.watch(id)
    }

    /// Waits until `order` is decided, and gives it as it is then; `None` when it is not
    /// decided within `limit`.
    ///
    /// # Errors
    /// [`Error::Overloaded`] as [`watch`](Self::watch), and the backend's.
    pub async fn wait_for_decision(
        &self,
        order: &Order,
        limit: Duration,
    ) -> Result<Option<Order>, Error> {
        if order.status != OrderStatus::Pending {
            return Ok(Some(order.clone()));
        }
        let mut watch = self.watch(order.id)?;
        match tokio::time::timeout(limit, watch.decided()).await {
            Ok(decided) => self.order(decided?.id).await,
            Err(_) => Ok(None),
        }
    }

    /// The number of watched orders, and the queries that they cost.
    #[must_use]
    pub fn watch_stats(&self) -> WatchStats {
        self.watcher.stats()
    }
}
