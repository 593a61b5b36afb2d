//! Figures for operators.

use std::sync::Arc;

use super::{OrderService, shop_stats::Stats};
use crate::error::Error;

impl OrderService {
    /// The figures of the shop, at most a second old.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the store keeps no figures, and the backend's.
    pub async fn stats(&self) -> Result<Arc<Stats>, Error> {
        let store = self.inner.stats_store()?;
        self.inner.latest_stats.get(store.as_ref()).await
    }
}
