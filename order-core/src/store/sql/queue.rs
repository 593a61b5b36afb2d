//! The table `queue_entries` of a database as an order queue.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    backend::{Priority, Readable, SqlConnection},
    value::{StoredTime, Value},
};
use crate::{
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId},
    error::Error,
    queue::{DeadLetter, Lease, MAX_COUNTED, OrderQueue, QueueStats, Topic},
};

/// The statements of a queue. The first parameter of each is a topic.
pub(crate) struct QueueStatements {
    /// Inserts entries by their orders, unless they are there, due at the time that follows.
    pub(super) push: &'static str,
    /// Claims entries that are due: up to so many, until a time, under an id.
    pub(super) claim: &'static str,
    /// Deletes the entries that leases still hold.
    pub(super) ack: &'static str,
    /// Puts the entries that leases still hold back, until a time.
    pub(super) retry: &'static str,
    /// Gives the entries up that leases still hold, at a time, for a reason.
    pub(super) dead_letter: &'static str,
    /// Makes dead entries due, by their orders, at the time that follows.
    pub(super) redrive: &'static str,
    /// Counts entries up to a limit, by the time that follows.
    pub(super) stats: &'static str,
}

const DEAD: &str = "SELECT order_id, coalesce(reason, ''), attempts, dead_at FROM queue_entries
     WHERE topic = $1 AND dead_at IS NOT NULL ORDER BY dead_at DESC, order_id LIMIT $2";

const PAUSE: &str = "INSERT INTO queue_pauses (topic) VALUES ($1) ON CONFLICT DO NOTHING";

const RESUME: &str = "DELETE FROM queue_pauses WHERE topic = $1";

/// A database as a queue.
#[async_trait]
pub(crate) trait SqlQueue: Send + Sync {
    type Connection: SqlConnection;

    const STATEMENTS: QueueStatements;

    fn claim_ids(&self) -> &IdGenerator;

    /// Tells whether there may be something to claim, and makes entries of what is.
    async fn prepare_claim(&self, topic: Topic, max: usize) -> Result<bool, Error>;

    /// Executes a statement that writes, and commits; gives the number of rows that it changed.
    async fn execute(
        &self,
        priority: Priority,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, Error>;

    /// The rows of a statement that writes, which is committed.
    async fn write_all<T: Readable>(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, Error>;

    /// The rows of a statement that reads.
    async fn read_all<T: Readable>(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, Error>;
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

fn ids(orders: &[OrderId]) -> Value<'static> {
    Value::Ids(orders.iter().map(|id| id.0).collect())
}

#[async_trait]
impl<Q: SqlQueue> OrderQueue for Q {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let values = [
            Value::text(topic.as_str()),
            ids(orders),
            Q::Connection::now(),
        ];
        let pushed = self.execute(Priority::Request, Q::STATEMENTS.push, &values);
        pushed.await.map(count)
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        _wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        if !self.prepare_claim(topic, max).await? {
            return Ok(Vec::new());
        }
        let claim_id = self.claim_ids().next(SystemClock.now());
        let values = [
            Value::text(topic.as_str()),
            Value::count(max),
            Q::Connection::from_now(lease),
            Value::Id(claim_id),
            Q::Connection::now(),
        ];
        let rows: Vec<(Uuid, i32)> = self.write_all(Q::STATEMENTS.claim, &values).await?;
        let lease = |(order_id, attempts): (Uuid, i32)| Lease {
            order_id: OrderId(order_id),
            attempts: attempts.unsigned_abs(),
            claim_id,
        };
        let mut leases: Vec<Lease> = rows.into_iter().map(lease).collect();
        leases.sort_unstable_by_key(|lease| lease.order_id);
        Ok(leases)
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        let values = [Value::text(topic.as_str()), Value::Leases(&leases)];
        let acked = self.execute(Priority::Background, Q::STATEMENTS.ack, &values);
        acked.await.map(count)
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        let values = [
            Value::text(topic.as_str()),
            Value::Leases(&leases),
            Q::Connection::from_now(delay),
        ];
        let retried = self.execute(Priority::Background, Q::STATEMENTS.retry, &values);
        retried.await.map(count)
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        let values = [
            Value::text(topic.as_str()),
            Value::Leases(&leases),
            Q::Connection::now(),
            Value::text(reason),
        ];
        let dead = self.execute(Priority::Background, Q::STATEMENTS.dead_letter, &values);
        dead.await.map(count)
    }

    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let values = [Value::text(topic.as_str()), Value::count(limit)];
        let rows: Vec<(Uuid, String, i32, StoredTime)> = self.read_all(DEAD, &values).await?;
        let letter = |(order_id, reason, attempts, dead_at): (_, _, i32, StoredTime)| DeadLetter {
            order_id: OrderId(order_id),
            reason,
            attempts: attempts.unsigned_abs(),
            dead_at: dead_at.0,
        };
        Ok(rows.into_iter().map(letter).collect())
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let values = [
            Value::text(topic.as_str()),
            ids(orders),
            Q::Connection::now(),
        ];
        let redriven = self.execute(Priority::Request, Q::STATEMENTS.redrive, &values);
        redriven.await.map(count)
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        let topic = [Value::text(topic.as_str())];
        let paused = self.execute(Priority::Request, PAUSE, &topic);
        paused.await.map(drop)
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        let topic = [Value::text(topic.as_str())];
        let resumed = self.execute(Priority::Request, RESUME, &topic);
        resumed.await.map(drop)
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        let values = [
            Value::text(topic.as_str()),
            Value::Int(i64::from(MAX_COUNTED)),
            Q::Connection::now(),
        ];
        let rows = self.read_all(Q::STATEMENTS.stats, &values).await?;
        let stats: Option<(i64, i64, i64, i64, f64, bool)> = rows.into_iter().next();
        let (waiting, in_flight, delayed, dead, oldest_age_seconds, paused) =
            stats.ok_or(sqlx::Error::RowNotFound)?;
        Ok(QueueStats {
            waiting: waiting.unsigned_abs(),
            in_flight: in_flight.unsigned_abs(),
            delayed: delayed.unsigned_abs(),
            dead: dead.unsigned_abs(),
            oldest_age_seconds,
            paused,
            capped: false,
        }
        .counted_by_a_database())
    }
}
