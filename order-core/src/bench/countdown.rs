//! Orders that tasks share.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The orders that are left to take on, for tasks that share them.
pub(super) struct Countdown(AtomicUsize);

impl Countdown {
    pub(super) fn new(orders: usize) -> Self {
        Self(AtomicUsize::new(orders))
    }

    /// Up to `most` of what is left; `None` when nothing is.
    pub(super) fn take(&self, most: usize) -> Option<usize> {
        let take = |left: usize| (left > 0).then(|| left.saturating_sub(most));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        before.ok().map(|left| left.min(most))
    }

    pub(super) fn give_back(&self, orders: usize) {
        self.0.fetch_add(orders, Ordering::Relaxed);
    }
}
