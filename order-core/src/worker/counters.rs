//! Counters of a worker's work since it started.

use std::sync::atomic::{AtomicU64, Ordering};

use super::DecisionCounts;
use crate::heartbeat::WorkerCounts;

#[derive(Debug, Default)]
pub(super) struct WorkerCounters {
    sold: AtomicU64,
    held: AtomicU64,
    failed: AtomicU64,
    processed: AtomicU64,
    in_flight: AtomicU64,
}

impl WorkerCounters {
    pub(super) fn decided(&self, counts: DecisionCounts) {
        self.sold.fetch_add(counts.sold, Ordering::Relaxed);
        self.held.fetch_add(counts.held, Ordering::Relaxed);
        self.failed.fetch_add(counts.failed, Ordering::Relaxed);
    }

    /// The decisions so far.
    pub(super) fn decisions(&self) -> DecisionCounts {
        DecisionCounts {
            sold: self.sold.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    pub(super) fn processed(&self, tasks: usize) {
        self.processed.fetch_add(tasks as u64, Ordering::Relaxed);
    }

    pub(super) fn tasks_came(&self, tasks: usize) {
        self.in_flight.fetch_add(tasks as u64, Ordering::Relaxed);
    }

    pub(super) fn attempts_ended(&self, attempts: usize) {
        self.in_flight.fetch_sub(attempts as u64, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> WorkerCounts {
        WorkerCounts {
            sold: self.sold.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            processed: self.processed.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }
}
