//! Heartbeats: each worker writes a row about itself once a second, and reads with it which
//! topics are paused. The work itself does not depend on them.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{error::Error, queue::Topic};

/// The silence after which a worker is taken for dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);
/// The time for which a worker that ended is remembered.
pub(crate) const RETENTION: Duration = Duration::from_hours(24);

/// A worker's report about itself. The store adds the time, by its own clock.
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
    /// The topics that it works on.
    pub topics: Vec<Topic>,
    /// True for the last heartbeat of a worker that ends.
    pub has_stopped: bool,
    /// The work that it did since it started.
    pub counts: WorkerCounts,
}

/// A worker as the store knows it. All times are by the clock of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownWorker {
    /// Its last heartbeat.
    pub heartbeat: Heartbeat,
    /// The time of its first heartbeat.
    pub started_at: DateTime<Utc>,
    /// The time of this heartbeat.
    pub heartbeat_at: DateTime<Utc>,
    /// The time at which it ended, if it ended well.
    pub stopped_at: Option<DateTime<Utc>>,
    /// The age of this heartbeat.
    pub silent_for: Duration,
}

/// The work of a worker since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Orders that it decided and that got their stock.
    pub sold: u64,
    /// Orders that it decided and that failed.
    pub failed: u64,
    /// Tasks that it completed.
    pub processed: u64,
    /// Tasks that are under way.
    pub in_flight: u64,
}

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    /// It sent a heartbeat lately.
    Alive,
    /// It sent none for [`DEAD_AFTER`].
    Dead,
    /// It said that it ends.
    Stopped,
}

impl KnownWorker {
    /// The state that its heartbeats show.
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

/// A store that keeps the heartbeats of workers.
#[async_trait]
pub trait WorkerStore: Send + Sync {
    /// Keeps a heartbeat in place of the worker's last one, and forgets workers that sent none for
    /// a day. Gives the topics that are paused.
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error>;

    /// The last heartbeat of each worker, those that started last first.
    async fn workers(&self) -> Result<Vec<KnownWorker>, Error>;
}
