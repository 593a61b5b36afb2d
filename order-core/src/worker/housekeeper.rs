//! The housekeeper: folds tallies, so that reading them costs the same after years, and the names
//! that an older version still writes, so that they are found, and has the database give back what
//! it holds of the disk for nothing. Any number of them, in any number
//! of processes, do each other no harm.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keeps small what grows with the number of statements. Every [`Worker`](crate::Worker) has
/// one; a process that only sells runs one by itself.
pub struct Housekeeper {
    store: Arc<dyn Store>,
}

impl Housekeeper {
    /// A housekeeper of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Works until `stop` is cancelled.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.store.fold_tallies(Duration::ZERO).await {
                Ok(rows) => tracing::trace!(rows, "folded tallies"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "tallies were not folded");
                }
            }
            if stop.run_until_cancelled(self.fold_names()).await.is_none() {
                return;
            }
            if let Err(error) = self.store.reclaim_disk().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the disk holds more than it needs to");
            }
        }
    }

    async fn fold_names(&self) {
        match self.store.fold_names().await {
            Ok(0) => {}
            Ok(names) => tracing::info!(names, "folded names that were written past this version"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "names were not folded");
            }
        }
    }
}
