//! The queue: which orders somebody should look at next.
//!
//! A queue carries ids, never truth. It may lose everything or deliver twice; the order's
//! state in the store decides what is still to do, and the sweeper offers again what a
//! queue lost. A claim is a lease: what is not consumed until it ends is claimed by others.
//!
//! ```text
//! push ─► waiting ─► claimed ─┬─► ack ─► gone
//!            ▲   ▲            ├─► retry(delay) ─► delayed ─┐
//!            │   └────────────┤ lease ran out              │
//!            └────────────────┼────────────────────────────┘
//!                             └─► dead_letter(reason) ─► dead ─► redrive ─► waiting
//! ```

mod redis;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::{domain::OrderId, error::Error};

pub use self::redis::RedisQueue;
pub use crate::store::{PostgresQueue, SqliteQueue};

/// What is to be done with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Decide it.
    Validate,
    /// Do what follows its sale.
    Process,
}

impl Topic {
    /// Both topics.
    pub const ALL: [Self; 2] = [Self::Validate, Self::Process];

    /// Its name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Process => "process",
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Topic {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.as_str() == text)
            .ok_or_else(|| Error::invalid("topic", "must be validate or process"))
    }
}

/// How far a database counts what a topic holds.
pub const MAX_COUNTED: u32 = 100_000;

/// The right to work on one order until the lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The order.
    pub order_id: OrderId,
    /// How often it was claimed, this time included.
    pub attempts: u32,
    /// Names this claim; once another took over, it is worth nothing.
    pub claim_id: Uuid,
}

/// How much a topic holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct QueueStats {
    /// Entries that may be claimed now.
    pub waiting: u64,
    /// Entries under a lease.
    pub in_flight: u64,
    /// Entries that wait for their retry.
    pub delayed: u64,
    /// Entries that were given up.
    pub dead: u64,
    /// How long the oldest waiting entry could have been claimed, in seconds.
    pub oldest_age_seconds: f64,
    /// Whether nothing is given out.
    pub paused: bool,
    /// Whether there may be more of something than was counted, which a database does up to
    /// [`MAX_COUNTED`].
    pub capped: bool,
}

impl QueueStats {
    /// Notes where the counting ended.
    pub(crate) fn counted_by_a_database(mut self) -> Self {
        let most = u64::from(MAX_COUNTED);
        let not_due = self.in_flight + self.delayed;
        self.capped = self.waiting >= most || not_due >= most || self.dead >= most;
        self
    }
}

/// An entry that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The order.
    pub order_id: OrderId,
    /// Why it was given up.
    pub reason: String,
    /// How often it was claimed.
    pub attempts: u32,
    /// When it was given up.
    pub dead_at: DateTime<Utc>,
}

/// Carries order ids, at least once, in batches. Everything but `push` and `claim` consumes
/// leases and tells how many of them were still held; the rest was taken over by others.
#[async_trait]
pub trait OrderQueue: Send + Sync {
    /// Offers orders. One that is on the topic already, in whatever state, stays as it is; how
    /// many were not.
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error>;

    /// Whether this one sweeps the topic for as long as `term`: among all who share a queue, one
    /// does, as long as it asks again in time. A queue that cannot tell lets everybody.
    async fn may_sweep(&self, _topic: Topic, _term: Duration) -> Result<bool, Error> {
        Ok(true)
    }

    /// Claims up to `max` entries, those that wait longest first, sorted by order. When none
    /// is there, a queue that can wait for one does so, for up to `wait`. While the topic is
    /// paused there are none. All workers of a topic claim for the same length of `lease`.
    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<Lease>, Error>;

    /// Done: the entries leave the queue.
    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error>;

    /// Not done: to be claimed again, but not before `delay`.
    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error>;

    /// Given up, and kept with the reason.
    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error>;

    /// Up to `limit` of the entries that were given up, the latest first.
    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Offers entries again that were given up, as if they had never been claimed; how many
    /// of them there were.
    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error>;

    /// Stops giving out entries of a topic, to whomever.
    async fn pause(&self, topic: Topic) -> Result<(), Error>;

    /// Gives out entries of a paused topic again.
    async fn resume(&self, topic: Topic) -> Result<(), Error>;

    /// How much the topic holds.
    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error>;
}
