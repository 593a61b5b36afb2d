//! Following orders until they are decided, and beyond; watching products.

use std::time::Duration;

use super::OrderService;
use crate::{
    domain::{Order, OrderId, OrderStatus, ProductId},
    error::Error,
    watch::{ProductWatch, Watch, WatchStats, watch_order, watch_product},
};

impl OrderService {
    /// Watches an order for the states that it comes to, whichever process makes it so.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when [`max_watched`](super::Builder::max_watched) orders are.
    pub fn watch(&self, id: OrderId) -> Result<Watch, Error> {
        watch_order(&self.watcher, id)
    }

    /// Watches a product for changes of its price, stock and terms, whichever process makes them.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when [`max_watched`](super::Builder::max_watched) products are.
    pub fn watch_product(&self, id: ProductId) -> Result<ProductWatch, Error> {
        watch_product(&self.product_watcher, id)
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

    /// The numbers of watched orders and products, and the queries that they cost.
    #[must_use]
    pub fn watch_stats(&self) -> WatchStats {
        let (orders, queries) = self.watcher.stats();
        let (products, product_queries) = self.product_watcher.stats();
        WatchStats {
            orders,
            queries,
            products,
            product_queries,
        }
    }
}
