//! Options of a worker.

use std::time::Duration;

use crate::store::Strategy;

/// Options of a worker.
///
/// ```
/// use order_core::WorkerOptions;
///
/// let options = WorkerOptions::default().with_batch_orders(100);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// The way in which concurrent orders are kept apart. `None` takes that of the service that
    /// makes the worker, and [`Strategy::Batch`] where there is none.
    pub strategy: Option<Strategy>,
    /// The most orders to decide in one transaction.
    pub batch_orders: usize,
    /// The most transactions that may be under way at once while the database is the queue: one
    /// claims its orders while another writes. They have their turns in the order of their
    /// claims, and only a backlog of more than one batch brings the second one up.
    pub max_concurrent_batches: usize,
    /// The wait before the next look when there was nothing to do.
    pub idle_poll: Duration,
    /// The time for which a claim on a queue holds before others may take it over.
    pub lease: Duration,
    /// The time between two looks of the sweeper for orders that a queue lost.
    pub sweep_interval: Duration,
    /// The time for which an order may be pending before the sweeper offers it again.
    pub sweep_age: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            strategy: None,
            batch_orders: 1_000,
            max_concurrent_batches: 2,
            idle_poll: Duration::from_millis(50),
            lease: Duration::from_secs(30),
            sweep_interval: Duration::from_secs(1),
            sweep_age: Duration::from_secs(4),
        }
    }
}

/// The shortest pause that is one.
const SHORTEST: Duration = Duration::from_millis(1);

impl WorkerOptions {
    /// The same options, with this strategy.
    #[must_use]
    pub const fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = Some(strategy);
        self
    }

    /// The same options, with so many orders in a transaction at most.
    #[must_use]
    pub const fn with_batch_orders(mut self, batch_orders: usize) -> Self {
        self.batch_orders = batch_orders;
        self
    }

    /// The same options, with so many transactions at once at most.
    #[must_use]
    pub const fn with_max_concurrent_batches(mut self, max_concurrent_batches: usize) -> Self {
        self.max_concurrent_batches = max_concurrent_batches;
        self
    }

    /// The same options, with this wait when there was nothing to do.
    #[must_use]
    pub const fn with_idle_poll(mut self, idle_poll: Duration) -> Self {
        self.idle_poll = idle_poll;
        self
    }

    /// The same options, with this length of a claim on a queue.
    #[must_use]
    pub const fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The same options, with this time between two looks of the sweeper.
    #[must_use]
    pub const fn with_sweep_interval(mut self, sweep_interval: Duration) -> Self {
        self.sweep_interval = sweep_interval;
        self
    }

    /// The same options, with this age at which the sweeper offers an order again.
    #[must_use]
    pub const fn with_sweep_age(mut self, sweep_age: Duration) -> Self {
        self.sweep_age = sweep_age;
        self
    }

    /// The same options, within what a worker can do.
    pub(super) fn bounded(self) -> Self {
        Self {
            batch_orders: self.batch_orders.max(1),
            idle_poll: self.idle_poll.max(SHORTEST),
            sweep_interval: self.sweep_interval.max(SHORTEST),
            ..self
        }
    }
}
