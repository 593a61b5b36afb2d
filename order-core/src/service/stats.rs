//! Figures for operators.

use std::{sync::Arc, time::Duration};

use super::{OrderService, shop_stats::Stats};
use crate::{error::Error, stats::OrderCounters};

impl OrderService {
    /// The figures of the shop, at most a second old.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps no figures, and the backend's.
    pub async fn stats(&self) -> Result<Arc<Stats>, Error> {
        let store = self.inner.stats_store()?;
        self.inner.latest_stats.get(store.as_ref()).await
    }

    /// The counters of the last `span` in steps, as [`StatsStore::history`] has them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps no figures, and the backend's.
    ///
    /// [`StatsStore::history`]: crate::stats::StatsStore::history
    pub async fn stats_history(
        &self,
        span: Duration,
        step: Duration,
    ) -> Result<OrderCounters, Error> {
        self.inner.stats_store()?.history(span, step).await
    }
}
