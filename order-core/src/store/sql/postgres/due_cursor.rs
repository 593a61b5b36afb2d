//! The beginning of the tasks that are due.
//!
//! A task that is claimed or done leaves a dead entry at the head of the index of what is due,
//! until the database cleans up; as with pending orders (see `claim_cursor`), a claim that began
//! there would walk over all of them. So each claim begins at the time where the one before
//! ended. A task that is due behind it all the same (another process held it and let it go, or
//! committed late) is found by a rescan: when a claim was not full, and otherwise now and then,
//! which takes a bounded share of the time.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::sync::lock;

/// The time between two rescans while every claim is full.
const RESCAN_EVERY: Duration = Duration::from_millis(250);
/// Rescanning takes at most one part in so many of the time, while there is other work.
const SHARE: u32 = 20;

/// The time at which the next claim begins.
#[derive(Debug)]
pub(super) struct DueCursor {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    from: DateTime<Utc>,
    rescan_at: Instant,
}

impl Default for DueCursor {
    fn default() -> Self {
        let state = State {
            from: Self::EVERYTHING,
            rescan_at: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl DueCursor {
    /// The time from which a rescan finds all that is due.
    pub(super) const EVERYTHING: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// The time to begin at.
    pub(super) fn from(&self) -> DateTime<Utc> {
        let state = self.state();
        if Instant::now() >= state.rescan_at {
            Self::EVERYTHING
        } else {
            state.from
        }
    }

    /// Notes a claim that began at `from`: the last time that it found, and whether there was
    /// as much as it asked for.
    pub(super) fn claimed(
        &self,
        from: DateTime<Utc>,
        began: Instant,
        last: Option<DateTime<Utc>>,
        full: bool,
    ) {
        let now = Instant::now();
        let mut state = self.state();
        state.from = last.unwrap_or(state.from);
        if from == Self::EVERYTHING {
            state.rescan_at = now + RESCAN_EVERY.max((now - began) * SHARE);
        }
        if !full {
            state.rescan_at = now;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is never left half written.
        lock(&self.state)
    }
}
