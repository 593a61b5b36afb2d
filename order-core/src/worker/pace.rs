//! How fast attempts end.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::process::AttemptResult;

/// The most tasks that are claimed ahead of those that may run.
pub(super) const MOST_AHEAD: usize = 2_000;
/// The time in which what is claimed ahead should have begun.
const AHEAD: Duration = Duration::from_millis(250);
/// The mean time of attempts that are made without a task of the runtime for each.
const INSTANT: Duration = Duration::from_micros(200);
/// One part in so many of the mean is the last attempt.
const MEMORY: u64 = 64;

/// The mean time of the last attempts, and from that how many tasks can be claimed ahead of need.
#[derive(Debug)]
pub(super) struct Pace {
    concurrency: u64,
    /// In nanoseconds, and at least one; none yet is as long as can be.
    mean: AtomicU64,
}

impl Pace {
    pub(super) const fn new(concurrency: usize) -> Self {
        Self {
            concurrency: concurrency as u64,
            mean: AtomicU64::new(u64::MAX),
        }
    }

    /// Notes attempts that ended.
    pub(super) fn ended(&self, results: &[AttemptResult]) {
        for result in results {
            self.took(result.took);
        }
    }

    /// Notes an attempt that took so long.
    fn took(&self, took: Duration) {
        let took = nanos(took).max(1);
        let next = |mean| match mean {
            u64::MAX => took,
            mean => (mean - mean / MEMORY).saturating_add(took / MEMORY).max(1),
        };
        let mean = self.mean.load(Ordering::Relaxed);
        // Of two at once, one counts.
        self.mean.store(next(mean), Ordering::Relaxed);
    }

    /// Tells whether attempts take next to no time.
    pub(super) fn is_instant(&self) -> bool {
        self.mean.load(Ordering::Relaxed) < nanos(INSTANT)
    }

    /// The number of tasks that begin soon, at this pace.
    pub(super) fn ahead(&self) -> usize {
        let mean = self.mean.load(Ordering::Relaxed);
        let soon = self.concurrency.saturating_mul(nanos(AHEAD) / mean);
        usize::try_from(soon).map_or(MOST_AHEAD, |soon| soon.min(MOST_AHEAD))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fast_attempts_are_claimed_ahead() {
        let pace = Pace::new(64);
        assert_eq!(pace.ahead(), 0, "nothing is known yet");
        assert!(!pace.is_instant());
        pace.took(Duration::from_secs(1));
        assert_eq!(pace.ahead(), 0);
        for _ in 0..1_000 {
            pace.took(Duration::from_millis(50));
        }
        assert!((256..=320).contains(&pace.ahead()), "{}", pace.ahead());
        for _ in 0..1_000 {
            pace.took(Duration::ZERO);
        }
        assert_eq!(pace.ahead(), MOST_AHEAD);
        assert!(pace.is_instant());
        for _ in 0..64 {
            pace.took(Duration::from_secs(30));
        }
        assert_eq!(pace.ahead(), 0, "it became slow");
        assert!(!pace.is_instant());
    }
}
