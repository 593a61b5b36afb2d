//! The number of entries that a topic holds.

use serde::Serialize;

/// The number of entries up to which a database counts.
pub const COUNT_LIMIT: u32 = 100_000;

/// The entries that a topic holds, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct QueueStats {
    /// Entries that may be claimed now.
    pub waiting: u64,
    /// Entries that wait out the delay before their first attempt.
    pub scheduled: u64,
    /// Entries under a lease.
    pub in_flight: u64,
    /// Entries that wait for their retry.
    pub delayed: u64,
    /// Entries that were given up.
    pub dead: u64,
    /// The time for which the oldest waiting entry could have been claimed, in seconds.
    pub oldest_age_seconds: f64,
    /// True when the topic gives out nothing.
    pub paused: bool,
    /// True when there may be more than was counted: a database counts up to [`COUNT_LIMIT`].
    pub capped: bool,
}

impl QueueStats {
    /// The same, marked where the counting ended at the limit.
    pub(crate) fn counted_by_a_database(mut self) -> Self {
        let most = u64::from(COUNT_LIMIT);
        let not_due = self.scheduled + self.in_flight + self.delayed;
        self.capped = self.waiting >= most || not_due >= most || self.dead >= most;
        self
    }
}
