//! The sweeper: offers again what should be moving and is not. A queue may lose everything
//! at any time; what is pending in the store and old enough was lost, or is offered once
//! more than needed, which does no harm.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::WorkerOptions;
use crate::{
    error::Error,
    metrics,
    queue::{OrderQueue, Topic},
    store::Store,
};

/// The most orders to offer in one sweep.
const SWEEP_ORDERS: usize = 10_000;

pub(super) struct Sweeper {
    store: Arc<dyn Store>,
    queue: Arc<dyn OrderQueue>,
    options: WorkerOptions,
}

impl Sweeper {
    pub(super) fn new(
        store: Arc<dyn Store>,
        queue: Arc<dyn OrderQueue>,
        options: WorkerOptions,
    ) -> Self {
        Self {
            store,
            queue,
            options,
        }
    }

    /// Sweeps at every interval until `stop` is cancelled.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(self.options.sweep_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.sweep().await {
                Ok(0) => {}
                Ok(orders) => tracing::info!(orders, "offered again what was left behind"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "sweep failed");
                }
            }
        }
    }

    /// Offers what was accepted too long ago and is still pending; how many those are.
    async fn sweep(&self) -> Result<usize, Error> {
        let age = self.options.sweep_age;
        let orders = self.store.pending_for(age, SWEEP_ORDERS).await?;
        if !orders.is_empty() {
            self.queue.push(Topic::Validate, &orders).await?;
            metrics::swept(orders.len());
        }
        Ok(orders.len())
    }
}
