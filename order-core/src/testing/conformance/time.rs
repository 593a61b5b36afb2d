//! The time of a backend.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::{Clock, SystemClock};

/// The time of a backend, to be moved instead of waited for.
#[async_trait]
pub trait Time: Send + Sync {
    /// Moves the clock of the backend forward; where it cannot be moved, makes everything older
    /// that the backend remembers.
    async fn advance(&self, by: TimeDelta);

    /// The time that the clock of the backend shows, to a few milliseconds: that of the machine,
    /// unless [`advance`](Self::advance) moves it.
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }
}
