//! What follows a sale: each sold order has a task, and a processor does it.
//!
//! A task is an entry of the topic `process` in the database, whatever carries the other
//! topic: it comes with the sale, in the same statement, so that neither is without the other.
//! A worker claims tasks under a lease, runs them, and writes in groups how they ended.
//!
//! ```text
//! sold ─► waiting ─► in flight ─┬─► done: the order is completed, the task is gone
//!            ▲  ▲               ├─► failed ─► delayed ─┐
//!            │  └───────────────┤ lease ran out        │
//!            └──────────────────┼──────────────────────┘
//!                               └─► failed for good, or too often ─► dead ─► redrive ─► waiting
//! ```
//!
//! Attempts are made **at least once**: a worker that is killed may have done its task and
//! told nobody. A processor deduplicates by [`Task::id`], which is the same for each attempt.
//!
//! **When the order is cancelled**, a task that nobody ever claimed is gone with it. Of any
//! other, something may have been done: it turns into a compensation, with an id of its own,
//! which is attempted, retried and given up like every task. An attempt that is under way
//! meanwhile runs to its end; then the compensation has its turn.

mod log;
mod simulate;
mod store;
mod task;
#[cfg(feature = "webhook")]
mod webhook;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use log::LogProcessor;
pub use simulate::SimulatedProcessor;
pub use store::{Claim, Claimed, Ended, Ending, TaskStore};
pub use task::{Attempt, Task, TaskHistory, TaskId, TaskKind, TaskState, TaskStatus};
#[cfg(feature = "webhook")]
pub use webhook::{WebhookOptions, WebhookProcessor, WebhookSecret};

/// How an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// Not now: another attempt follows, when there are any left.
    #[error("{reason}")]
    Retry {
        /// What went wrong.
        reason: String,
        /// How long to wait at least, if the processor knows better than the usual delay.
        after: Option<Duration>,
    },
    /// Never: the task is a dead letter.
    #[error("{reason}")]
    GiveUp {
        /// What went wrong.
        reason: String,
    },
}

impl ProcessError {
    /// A failure that may pass.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// A failure that stays.
    pub fn give_up(reason: impl Into<String>) -> Self {
        Self::GiveUp {
            reason: reason.into(),
        }
    }
}

/// Does what follows a sale.
///
/// Attempts run concurrently, each under a time-out: what takes longer is dropped where it
/// awaits. One that panics has failed.
#[async_trait]
pub trait OrderProcessor: Send + Sync {
    /// Does what follows the sale of an order.
    ///
    /// # Errors
    /// What went wrong, and whether trying again may help.
    async fn process(&self, task: &Task) -> Result<(), ProcessError>;

    /// Undoes it, since the order was cancelled. It may not have been done, or only in part.
    /// Does nothing unless said otherwise.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        let _ = task;
        Ok(())
    }
}

/// How tasks are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessOptions {
    /// How many attempts run at once.
    pub concurrency: usize,
    /// How long a task waits before it is claimed, so that the order can still be cancelled
    /// without anything to undo; so does a retry, on top of its own delay.
    pub delay: Duration,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// How many attempts a task has.
    pub max_attempts: u32,
    /// How long to wait after the first failure; each further one doubles it.
    pub first_delay: Duration,
    /// How long to wait at most, whoever says so.
    pub max_delay: Duration,
    /// How long to wait, when there was nothing to do, before looking again.
    pub idle_poll: Duration,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            concurrency: 64,
            delay: Duration::ZERO,
            timeout: Duration::from_secs(30),
            max_attempts: 15,
            first_delay: Duration::from_secs(1),
            max_delay: Duration::from_hours(1),
            idle_poll: Duration::from_millis(250),
        }
    }
}

/// How long a lease goes on after the time-out, at least.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

impl ProcessOptions {
    /// How long a claim holds: half as long again as an attempt may take, so that how it ended
    /// can be written while the claim still holds, also when the database is slow.
    #[must_use]
    pub fn lease(&self) -> Duration {
        let margin = (self.timeout / 2).max(LEASE_MARGIN);
        self.timeout.saturating_add(margin)
    }

    /// How long to wait after so many failed attempts: exponential, and half of it drawn, so
    /// that what failed together does not come back together.
    #[must_use]
    pub fn retry_delay(&self, failed_attempts: u32) -> Duration {
        let doublings = failed_attempts.saturating_sub(1).min(31);
        let full = self.first_delay.saturating_mul(1 << doublings);
        let half = full.min(self.max_delay) / 2;
        half + half.mul_f64(rand::random::<f64>())
    }
}

/// A processor that is shared between attempts, and how it is run.
#[derive(Clone)]
pub struct Processing {
    /// What does the tasks.
    pub processor: Arc<dyn OrderProcessor>,
    /// How they are done.
    pub options: ProcessOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_bound_and_half_of_each_is_drawn() {
        let options = ProcessOptions::default();
        for (failed, full) in [
            (1, 1),
            (2, 2),
            (5, 16),
            (12, 2_048),
            (13, 3_600),
            (99, 3_600),
        ] {
            let full = Duration::from_secs(full);
            for _ in 0..100 {
                let delay = options.retry_delay(failed);
                assert!(delay >= full / 2 && delay <= full, "{failed}: {delay:?}");
            }
        }
        let drawn = options.retry_delay(5);
        assert!((0..100).any(|_| options.retry_delay(5) != drawn));
    }
}
