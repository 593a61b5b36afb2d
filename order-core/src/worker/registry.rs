//! Who works: each worker writes a line about itself once a second, and reads with it which
//! topics are paused. Nobody needs to know of anybody for the work itself.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{error::Error, queue::Topic};

/// After how long without a heartbeat a worker is taken for dead.
pub const DEAD_AFTER: TimeDelta = TimeDelta::seconds(10);
/// How long a worker that ended is remembered.
pub(crate) const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// What a worker tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its id, new with each start.
    pub id: Uuid,
    /// The machine that it runs on.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// What it works on.
    pub topics: Vec<Topic>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it told this.
    pub heartbeat_at: DateTime<Utc>,
    /// When it ended, if it ended well.
    pub stopped_at: Option<DateTime<Utc>>,
    /// What it did since it started.
    pub counts: Counts,
}

/// What a worker did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Orders that it decided and that got their stock.
    pub sold: u64,
    /// Orders that it decided and that failed.
    pub failed: u64,
    /// Tasks that it did.
    pub processed: u64,
    /// Tasks that it is doing.
    pub in_flight: u64,
}

/// Whether a worker works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It told lately.
    Alive,
    /// It did not, for [`DEAD_AFTER`].
    Dead,
    /// It said that it ends.
    Stopped,
}

impl Heartbeat {
    /// Whether it works, at `now`.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> WorkerState {
        if self.stopped_at.is_some() {
            WorkerState::Stopped
        } else if now - self.heartbeat_at >= DEAD_AFTER {
            WorkerState::Dead
        } else {
            WorkerState::Alive
        }
    }
}

/// Keeps what workers tell.
#[async_trait]
pub trait WorkerStore: Send + Sync {
    /// Keeps what a worker tells, in place of what it told before, and forgets workers that
    /// told nothing for a day. Gives the topics that are paused.
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error>;

    /// What each worker told last, those that started last first.
    async fn workers(&self) -> Result<Vec<Heartbeat>, Error>;
}
