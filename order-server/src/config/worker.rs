//! Settings of the loop that decides orders.

use clap::Args;
use order_core::{WorkerOptions, store::Strategy};

use super::values::{millis, one_of, positive};

/// Settings of the loop that decides orders, for the worker in the server and for worker processes
/// alike.
#[derive(Clone, Copy, Debug, Args)]
pub struct WorkerSettings {
    /// How concurrent orders are kept from overselling
    #[arg(long, env, default_value_t, value_parser = one_of::<Strategy>(Strategy::ALL.map(Strategy::as_str)))]
    pub strategy: Strategy,

    /// Maximum number of orders to decide in one transaction
    #[arg(long, env = "WORKER_BATCH_ORDERS", default_value_t = 1_000, value_parser = positive())]
    pub batch_orders: u64,

    /// Milliseconds after which other workers take over the orders that a worker claimed on Redis;
    /// the same for all workers
    #[arg(long, env = "WORKER_LEASE_MS", default_value_t = 30_000, value_parser = positive())]
    pub lease_ms: u64,

    /// Milliseconds to wait before looking for orders again when there were none
    #[arg(long, env = "WORKER_IDLE_POLL_MS", default_value_t = 50, value_parser = positive())]
    pub idle_poll_ms: u64,
}

impl WorkerSettings {
    /// The options of a worker with these settings.
    #[must_use]
    pub fn options(&self) -> WorkerOptions {
        WorkerOptions::default()
            .with_strategy(self.strategy)
            .with_batch_orders(usize::try_from(self.batch_orders).unwrap_or(usize::MAX))
            .with_lease(millis(self.lease_ms))
            .with_idle_poll(millis(self.idle_poll_ms))
    }
}
