//! A queue that calls a test back before it is asked for something.
#![allow(dead_code)] // Each test file uses its part.

use std::time::Duration;

use async_trait::async_trait;
use order_core::{
    Error,
    domain::OrderId,
    queue::{DeadFilter, DeadLetter, DeadQuery, DeadSummary, Lease, OrderQueue, QueueStats, Topic},
};

/// A call that tests are told of.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    Push(&'a [OrderId]),
    Claim,
    Ack,
}

/// A queue, and what is called before some of its methods. All else is passed on as it is.
pub struct HookedQueue<Q, F> {
    pub queue: Q,
    pub before: F,
}

#[async_trait]
impl<Q, F> OrderQueue for HookedQueue<Q, F>
where
    Q: OrderQueue,
    F: Fn(Call<'_>) + Send + Sync,
{
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        (self.before)(Call::Push(orders));
        self.queue.push(topic, orders).await
    }

    async fn may_sweep(&self, topic: Topic, term: Duration) -> Result<bool, Error> {
        self.queue.may_sweep(topic, term).await
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        (self.before)(Call::Claim);
        self.queue.claim(topic, max, lease, wait).await
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        (self.before)(Call::Ack);
        self.queue.ack(topic, leases).await
    }

    async fn retry(&self, topic: Topic, leases: Vec<Lease>, by: Duration) -> Result<usize, Error> {
        self.queue.retry(topic, leases, by).await
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        self.queue.dead_letter(topic, leases, reason).await
    }

    async fn dead(&self, topic: Topic, query: &DeadQuery) -> Result<Vec<DeadLetter>, Error> {
        self.queue.dead(topic, query).await
    }

    async fn dead_summary(
        &self,
        topic: Topic,
        filter: &DeadFilter,
        groups: usize,
    ) -> Result<DeadSummary, Error> {
        self.queue.dead_summary(topic, filter, groups).await
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        self.queue.redrive(topic, orders).await
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        self.queue.pause(topic).await
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        self.queue.resume(topic).await
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        self.queue.stats(topic).await
    }
}
