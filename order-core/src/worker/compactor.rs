//! The compactor: it sums up old rows of counters, so that reading them costs the same after
//! years, folds names that an older version still writes, so that they are found, and has the
//! database give back disk space that it holds for nothing. Any number of compactors, in any number
//! of processes, do each other no harm.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::expiry::Expiry;
use crate::{
    clock::Clock,
    metrics::part,
    stats::StatsStore,
    store::{OrderStore, Store},
    supervise::supervise,
};

/// The time between two compactions, and before the first.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keeps small what grows with the number of statements.
struct Compactor {
    store: Arc<dyn Store>,
    stats: Option<Arc<dyn StatsStore>>,
}

/// A compactor, and the expiry of holds, that work in tasks of their own until this is dropped.
#[derive(Debug)]
pub(crate) struct Compaction {
    _stop: DropGuard,
}

impl Compaction {
    /// Starts to compact `store`, and to expire the lapsed holds of `orders`. Must be called within a
    /// Tokio runtime.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        orders: Arc<dyn OrderStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (compactor, stop) = (Arc::new(Compactor::new(store)), CancellationToken::new());
        let guard = stop.clone().drop_guard();
        let (expiry, until) = (Arc::new(Expiry { orders, clock }), stop.clone());
        tokio::spawn(supervise(part::EXPIRY, move || {
            let (expiry, stop) = (Arc::clone(&expiry), until.clone());
            async move { expiry.run(&stop).await }
        }));
        tokio::spawn(supervise(part::COMPACTION, move || {
            let (compactor, stop) = (Arc::clone(&compactor), stop.clone());
            async move { compactor.run(&stop).await }
        }));
        Self { _stop: guard }
    }
}

impl Compactor {
    fn new(store: Arc<dyn Store>) -> Self {
        let stats = Arc::clone(&store).stats_store();
        Self { store, stats }
    }

    /// Works until `stop` is cancelled. A process that is over within seconds compacts nothing.
    async fn run(&self, stop: &CancellationToken) {
        let mut ticks = interval_at(Instant::now() + INTERVAL, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.compact_counters().await;
            if stop.run_until_cancelled(self.fold_names()).await.is_none() {
                return;
            }
            if let Err(error) = self.store.reclaim_disk().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the disk holds more than it needs to");
            }
        }
    }

    async fn compact_counters(&self) {
        let Some(stats) = &self.stats else { return };
        match stats.compact_counters(Duration::ZERO).await {
            Ok(rows) => tracing::trace!(rows, "compacted counters"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "counters were not compacted");
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
