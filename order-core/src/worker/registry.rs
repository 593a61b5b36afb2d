//! Who works: each worker writes a line about itself once a second, and reads with it which
//! topics are paused. Nobody needs to know of anybody for the work itself.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{error::Error, queue::Topic};

/// After how long without a heartbeat a worker is taken for dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);
/// How long a worker that ended is remembered.
pub(crate) const REMEMBERED: Duration = Duration::from_hours(24);

/// What a worker tells of itself. When, is what the store says, by its own clock.
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
    /// Whether this is the last word of one that ends.
    pub has_stopped: bool,
    /// What it did since it started.
    pub counts: Counts,
}

/// A worker as the store knows it. All times are by the clock of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownWorker {
    /// What it told last.
    pub heartbeat: Heartbeat,
    /// When it told something for the first time.
    pub started_at: DateTime<Utc>,
    /// When it told this.
    pub heartbeat_at: DateTime<Utc>,
    /// When it ended, if it ended well.
    pub stopped_at: Option<DateTime<Utc>>,
    /// How long ago it told this.
    pub silent_for: Duration,
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

impl KnownWorker {
    /// Whether it works.
    #[must_use]
    pub fn state(&self) -> WorkerState {
        if self.stopped_at.is_some() {
            WorkerState::Stopped
        } else if self.silent_for >= DEAD_AFTER {
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
    async fn workers(&self) -> Result<Vec<KnownWorker>, Error>;
}
