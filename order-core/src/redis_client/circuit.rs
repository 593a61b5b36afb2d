//! The circuit: calls pass it, or fail at once.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::sync::lock;

/// The time for which the circuit stays open after a failure.
const OPEN_FOR: Duration = Duration::from_millis(500);

/// A circuit, with the time at which it closes again if it is open.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    open_until: Mutex<Option<Instant>>,
    failures: AtomicU64,
}

impl Circuit {
    /// True when a call may pass. While the circuit is open, none may; after that one may, and
    /// for the others it stays open until that one has found out.
    pub(super) fn lets_through(&self) -> bool {
        let mut open_until = lock(&self.open_until);
        match *open_until {
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                *open_until = Some(Instant::now() + OPEN_FOR);
                true
            }
            None => true,
        }
    }

    pub(super) fn close(&self) {
        *lock(&self.open_until) = None;
    }

    pub(super) fn open(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *lock(&self.open_until) = Some(Instant::now() + OPEN_FOR);
    }

    /// The number of times that it was opened.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
