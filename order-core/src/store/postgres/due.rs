//! Where the tasks that are due begin.
//!
//! A task that is claimed or done leaves a dead entry at the head of the index of what is due,
//! until the database cleans up; as with pending orders (see `frontier`), a claim that began
//! there would walk over all of them. So each claim begins at the time where the one before
//! ended. What is due behind it all the same (another process held it and let it go, or
//! committed late) is found by looking back: when a claim was not full, and else now and then,
//! which takes a bounded share of the time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

/// How often to look back while every claim is full.
const LOOK_BACK: Duration = Duration::from_millis(250);
/// Looking back takes at most one part in so many of the time, while there is other work.
const SHARE: u32 = 20;

/// Where the next claim begins.
#[derive(Debug)]
pub(super) struct Due {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    from: DateTime<Utc>,
    look_back_at: Instant,
}

impl Default for Due {
    fn default() -> Self {
        let state = State {
            from: Self::EVERYTHING,
            look_back_at: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl Due {
    /// The time to look from at all that is due.
    pub(super) const EVERYTHING: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// The time to begin at.
    pub(super) fn from(&self) -> DateTime<Utc> {
        let state = self.state();
        if Instant::now() >= state.look_back_at {
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
            state.look_back_at = now + LOOK_BACK.max((now - began) * SHARE);
        }
        if !full {
            state.look_back_at = now;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is never left half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
