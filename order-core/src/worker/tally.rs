//! What a worker did since it started.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Counts, Decided};

#[derive(Debug, Default)]
pub(super) struct Tally {
    sold: AtomicU64,
    failed: AtomicU64,
    processed: AtomicU64,
    in_flight: AtomicU64,
}

impl Tally {
    pub(super) fn decided(&self, decided: Decided) {
        self.sold.fetch_add(decided.sold, Ordering::Relaxed);
        self.failed.fetch_add(decided.failed, Ordering::Relaxed);
    }

    pub(super) fn processed(&self, tasks: usize) {
        self.processed.fetch_add(tasks as u64, Ordering::Relaxed);
    }

    pub(super) fn began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, tasks: usize) {
        self.in_flight.fetch_sub(tasks as u64, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            sold: self.sold.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            processed: self.processed.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }
}
