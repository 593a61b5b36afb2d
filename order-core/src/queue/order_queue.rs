//! The trait of a queue.

use std::time::Duration;

use async_trait::async_trait;

use super::{DeadFilter, DeadLetter, DeadQuery, DeadSummary, Lease, QueueStats, Topic};
use crate::{domain::OrderId, error::Error};

/// A queue that carries order ids, at least once, in batches. `ack`, `retry` and `dead_letter`
/// consume leases and give the number that was still held; others took over the rest.
#[async_trait]
pub trait OrderQueue: Send + Sync {
    /// Offers orders, and gives the number that was new to the topic. One that is there already, in
    /// whatever state, stays as it is.
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error>;

    /// True when the caller sweeps the topic for the next `term`: among all who share a queue one
    /// does, as long as it asks again in time. A queue that cannot elect one lets everybody.
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

    /// Entries that were given up, the latest first. Those of one moment have an order of their own,
    /// by which a query goes on.
    async fn dead(&self, topic: Topic, query: &DeadQuery) -> Result<Vec<DeadLetter>, Error>;

    /// Counts the entries that were given up, and gives up to `groups` groups by reason.
    async fn dead_summary(
        &self,
        topic: Topic,
        filter: &DeadFilter,
        groups: usize,
    ) -> Result<DeadSummary, Error>;

    /// Offers entries again that were given up, as if they had never been claimed, and gives their
    /// number.
    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error>;

    /// Stops giving out entries of a topic, to whomever.
    async fn pause(&self, topic: Topic) -> Result<(), Error>;

    /// Gives out entries of a paused topic again.
    async fn resume(&self, topic: Topic) -> Result<(), Error>;

    /// The number of entries that the topic holds.
    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error>;
}
