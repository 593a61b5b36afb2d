//! Options of the attempts at tasks.

use std::{fmt, sync::Arc, time::Duration};

use super::OrderProcessor;

/// Options of the attempts at tasks.
///
/// ```
/// use std::time::Duration;
/// use order_core::process::ProcessOptions;
///
/// let options = ProcessOptions::default()
///     .with_concurrency(8)
///     .with_timeout(Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessOptions {
    /// The most attempts that run at once.
    pub concurrency: usize,
    /// The time that a task waits before it is claimed, so that the order can still be cancelled
    /// without anything to undo; so does a retry, on top of its own delay.
    pub delay: Duration,
    /// The longest that an attempt may take.
    pub timeout: Duration,
    /// The most attempts that a task has.
    pub max_attempts: u32,
    /// The wait after the first failure; each further one doubles it.
    pub first_delay: Duration,
    /// The longest wait between two attempts, whoever asks for it.
    pub max_delay: Duration,
    /// The wait before the next look when there was nothing to do.
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

/// The least time by which a lease outlives the time-out.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

impl ProcessOptions {
    /// The same options, with so many attempts at once.
    #[must_use]
    pub const fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// The same options, with this delay before a task is claimed.
    #[must_use]
    pub const fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same options, with this limit for an attempt.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same options, with so many attempts for a task.
    #[must_use]
    pub const fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// The same options, with this wait after the first failure.
    #[must_use]
    pub const fn with_first_delay(mut self, first_delay: Duration) -> Self {
        self.first_delay = first_delay;
        self
    }

    /// The same options, with this longest wait.
    #[must_use]
    pub const fn with_max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    /// The same options, with this wait when there was nothing to do.
    #[must_use]
    pub const fn with_idle_poll(mut self, idle_poll: Duration) -> Self {
        self.idle_poll = idle_poll;
        self
    }

    /// The length of a claim: half as long again as an attempt may take, so that its result can be
    /// written while the claim still holds, also when the database is slow.
    #[must_use]
    pub fn lease(&self) -> Duration {
        let margin = (self.timeout / 2).max(LEASE_MARGIN);
        self.timeout.saturating_add(margin)
    }

    /// The wait after so many failed attempts: exponential, and half of it drawn, so that tasks
    /// that failed together do not come back together.
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
    /// The processor that does the tasks.
    pub processor: Arc<dyn OrderProcessor>,
    /// The options of its attempts.
    pub options: ProcessOptions,
}

impl Processing {
    /// Tasks are done by `processor`, with these options.
    #[must_use]
    pub fn new(processor: Arc<dyn OrderProcessor>, options: ProcessOptions) -> Self {
        Self { processor, options }
    }
}

impl fmt::Debug for Processing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processing")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
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
