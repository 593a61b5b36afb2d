//! The table `queue_entries` of a Postgres database as an order queue: claims skip what
//! others are claiming (`SKIP LOCKED`), so that any number of workers share it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{DeadLetter, Lease, MAX_COUNTED, OrderQueue, QueueStats, Topic};
use crate::{
    clock::Clock,
    domain::{IdGenerator, OrderId},
    error::Error,
    store::{Connections, task_batches::unpack},
};

/// A queue in a Postgres database.
pub struct PostgresQueue {
    connections: Connections,
    clock: Arc<dyn Clock>,
    claim_ids: IdGenerator,
}

impl PostgresQueue {
    /// A queue over `pool`, whose schema is migrated.
    #[must_use]
    pub fn new(pool: PgPool, clock: Arc<dyn Clock>) -> Self {
        Self::over(Connections::new(pool), clock)
    }

    pub(crate) fn over(connections: Connections, clock: Arc<dyn Clock>) -> Self {
        Self {
            connections,
            clock,
            claim_ids: IdGenerator::default(),
        }
    }
}

#[async_trait]
impl OrderQueue for PostgresQueue {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO queue_entries (topic, order_id, visible_at)
             SELECT $1, id, $3 FROM unnest($2::uuid[]) AS pushed (id)
             ON CONFLICT DO NOTHING",
        )
        .bind(topic.as_str())
        .bind(uuids(orders.iter().copied()))
        .bind(self.clock.now())
        .execute(&mut *self.connections.acquire().await?)
        .await?;
        Ok(())
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        _wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let now = self.clock.now();
        let claim_id = self.claim_ids.next(now);
        if topic == Topic::Process {
            let mut connection = self.connections.acquire().await?;
            let all = DateTime::UNIX_EPOCH;
            unpack(&mut connection, all, now, max, all).await?;
        }
        let rows: Vec<(Uuid, i32)> = sqlx::query_as(
            "WITH claimed AS MATERIALIZED (
                 SELECT order_id FROM queue_entries
                 WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $2
                   AND NOT EXISTS (SELECT FROM queue_pauses WHERE topic = $1)
                 ORDER BY visible_at LIMIT $3 FOR UPDATE SKIP LOCKED)
             UPDATE queue_entries e
             SET attempts = attempts + 1, runs = runs + 1, visible_at = $4, claim_id = $5,
                 worker_id = NULL, claimed_at = $2
             FROM claimed WHERE e.topic = $1 AND e.order_id = claimed.order_id
             RETURNING e.order_id, e.attempts",
        )
        .bind(topic.as_str())
        .bind(now)
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .bind(now + lease)
        .bind(claim_id)
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        Ok(leases(rows, claim_id))
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        let (orders, claims) = columns(&leases);
        let done = sqlx::query(
            "DELETE FROM queue_entries e
             USING unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
             WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
        )
        .bind(topic.as_str())
        .bind(orders)
        .bind(claims)
        .execute(&mut *self.connections.acquire().await?)
        .await?;
        Ok(count(done.rows_affected()))
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        let (orders, claims) = columns(&leases);
        let done = sqlx::query(
            "UPDATE queue_entries e SET visible_at = $4, claim_id = NULL
             FROM unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
             WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
        )
        .bind(topic.as_str())
        .bind(orders)
        .bind(claims)
        .bind(self.clock.now() + delay)
        .execute(&mut *self.connections.acquire().await?)
        .await?;
        Ok(count(done.rows_affected()))
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        let (orders, claims) = columns(&leases);
        let done = sqlx::query(
            "UPDATE queue_entries e SET dead_at = $4, reason = $5, claim_id = NULL
             FROM unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
             WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
        )
        .bind(topic.as_str())
        .bind(orders)
        .bind(claims)
        .bind(self.clock.now())
        .bind(reason)
        .execute(&mut *self.connections.acquire().await?)
        .await?;
        Ok(count(done.rows_affected()))
    }

    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let rows: Vec<(Uuid, String, i32, DateTime<Utc>)> = sqlx::query_as(
            "SELECT order_id, coalesce(reason, ''), attempts, dead_at FROM queue_entries
             WHERE topic = $1 AND dead_at IS NOT NULL ORDER BY dead_at DESC, order_id LIMIT $2",
        )
        .bind(topic.as_str())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        let letter = |(order_id, reason, attempts, dead_at): (Uuid, String, i32, _)| DeadLetter {
            order_id: OrderId(order_id),
            reason,
            attempts: attempts.unsigned_abs(),
            dead_at,
        };
        Ok(rows.into_iter().map(letter).collect())
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let done = sqlx::query(
            "UPDATE queue_entries SET dead_at = NULL, reason = NULL, attempts = 0, visible_at = $3
             WHERE topic = $1 AND order_id = ANY($2) AND dead_at IS NOT NULL",
        )
        .bind(topic.as_str())
        .bind(uuids(orders.iter().copied()))
        .bind(self.clock.now())
        .execute(&mut *self.connections.acquire().await?)
        .await?;
        Ok(count(done.rows_affected()))
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        sqlx::query("INSERT INTO queue_pauses (topic) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(topic.as_str())
            .execute(&mut *self.connections.acquire().await?)
            .await?;
        Ok(())
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        sqlx::query("DELETE FROM queue_pauses WHERE topic = $1")
            .bind(topic.as_str())
            .execute(&mut *self.connections.acquire().await?)
            .await?;
        Ok(())
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        let now = self.clock.now();
        let (waiting, in_flight, delayed, dead, oldest, paused): (
            i64,
            i64,
            i64,
            i64,
            Option<DateTime<Utc>>,
            bool,
        ) = sqlx::query_as(
            "SELECT least(due.count + packed.due, $3), later.in_flight,
                    later.count - later.in_flight + packed.later, dead.count,
                    least(packed.oldest, (
                        SELECT visible_at FROM queue_entries
                        WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $2
                        ORDER BY visible_at LIMIT 1)),
                    EXISTS (SELECT FROM queue_pauses WHERE topic = $1)
             FROM (SELECT coalesce(sum(tasks) FILTER (WHERE sold_at <= $2), 0)::bigint AS due,
                          coalesce(sum(tasks) FILTER (WHERE sold_at > $2), 0)::bigint AS later,
                          min(sold_at) FILTER (WHERE sold_at <= $2) AS oldest
                   FROM (SELECT tasks, sold_at FROM task_batches WHERE $1 = 'process'
                         ORDER BY sold_at LIMIT $3) b) packed,
                  (SELECT count(*) FROM (
                       SELECT FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $2 LIMIT $3) e) due,
                  (SELECT count(*), count(claim_id) AS in_flight FROM (
                       SELECT claim_id FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NULL AND visible_at > $2 LIMIT $3) e) later,
                  (SELECT count(*) FROM (
                       SELECT FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NOT NULL LIMIT $3) e) dead",
        )
        .bind(topic.as_str())
        .bind(now)
        .bind(i64::from(MAX_COUNTED))
        .fetch_one(&mut *self.connections.acquire().await?)
        .await?;
        Ok(QueueStats {
            waiting: waiting.unsigned_abs(),
            in_flight: in_flight.unsigned_abs(),
            delayed: delayed.unsigned_abs(),
            dead: dead.unsigned_abs(),
            oldest_age_seconds: oldest.map_or(0.0, |t| (now - t).as_seconds_f64()),
            paused,
            capped: false,
        }
        .counted_by_a_database())
    }
}

fn uuids(orders: impl Iterator<Item = OrderId>) -> Vec<Uuid> {
    orders.map(|id| id.0).collect()
}

fn columns(leases: &[Lease]) -> (Vec<Uuid>, Vec<Uuid>) {
    leases.iter().map(|l| (l.order_id.0, l.claim_id)).unzip()
}

fn leases(rows: Vec<(Uuid, i32)>, claim_id: Uuid) -> Vec<Lease> {
    let mut leases: Vec<Lease> = rows
        .into_iter()
        .map(|(order_id, attempts)| Lease {
            order_id: OrderId(order_id),
            attempts: attempts.unsigned_abs(),
            claim_id,
        })
        .collect();
    leases.sort_unstable_by_key(|lease| lease.order_id);
    leases
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}
