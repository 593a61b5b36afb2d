//! The table `queue_entries` of a Postgres database as an order queue: claims skip what
//! others are claiming (`SKIP LOCKED`), so that any number of workers share it. Time is that of
//! the database: what several workers say about leases cannot disagree.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::{COUNT_LIMIT, DeadLetter, Lease, OrderQueue, QueueStats, Topic};
use crate::{
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId},
    error::Error,
    store::{Connections, span_micros, task_batches::unpack},
};

/// A queue in a Postgres database.
#[derive(Debug)]
pub struct PostgresQueue {
    connections: Connections,
    claim_ids: IdGenerator,
}

impl PostgresQueue {
    /// A queue over `pool`, whose schema is migrated.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::over(Connections::new(pool))
    }

    pub(crate) fn over(connections: Connections) -> Self {
        Self {
            connections,
            claim_ids: IdGenerator::default(),
        }
    }
}

#[async_trait]
impl OrderQueue for PostgresQueue {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        self.connections
            .attempt(async {
                let pushed = sqlx::query(
                    "INSERT INTO queue_entries (topic, order_id, visible_at)
             SELECT $1, id, now
             FROM (SELECT clock_timestamp() AS now) AS clock, unnest($2::uuid[]) AS pushed (id)
             ON CONFLICT DO NOTHING",
                )
                .bind(topic.as_str())
                .bind(uuids(orders.iter().copied()))
                .execute(&mut *self.connections.acquire().await?)
                .await?;
                Ok(count(pushed.rows_affected()))
            })
            .await
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        _wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        self.connections
            .attempt(async {
                let claim_id = self.claim_ids.next(SystemClock.now());
                if topic == Topic::Process {
                    let mut connection = self.connections.acquire().await?;
                    let all = DateTime::UNIX_EPOCH;
                    unpack(&mut connection, all, Duration::ZERO, max, all).await?;
                }
                let rows: Vec<(Uuid, i32)> = sqlx::query_as(
                    "WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
             claimed AS MATERIALIZED (
                 SELECT order_id FROM queue_entries
                 WHERE topic = $1 AND dead_at IS NULL AND visible_at <= (SELECT now FROM clock)
                   AND NOT EXISTS (SELECT FROM queue_pauses WHERE topic = $1)
                 ORDER BY visible_at LIMIT $2 FOR UPDATE SKIP LOCKED)
             UPDATE queue_entries e
             SET attempts = attempts + 1, runs = runs + 1, claim_id = $4, worker_id = NULL,
                 claimed_at = (SELECT now FROM clock),
                 visible_at = (SELECT now + $3::bigint * interval '1 microsecond' FROM clock)
             FROM claimed WHERE e.topic = $1 AND e.order_id = claimed.order_id
             RETURNING e.order_id, e.attempts",
                )
                .bind(topic.as_str())
                .bind(i64::try_from(max).unwrap_or(i64::MAX))
                .bind(span_micros(lease))
                .bind(claim_id)
                .fetch_all(&mut *self.connections.acquire().await?)
                .await?;
                Ok(leases(rows, claim_id))
            })
            .await
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        self.connections
            .attempt(async {
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
            })
            .await
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        self.connections
            .attempt(async {
                let (orders, claims) = columns(&leases);
                let done = sqlx::query(
                    "UPDATE queue_entries e
             SET visible_at = clock_timestamp() + $4::bigint * interval '1 microsecond',
                 claim_id = NULL
             FROM unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
             WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
                )
                .bind(topic.as_str())
                .bind(orders)
                .bind(claims)
                .bind(span_micros(delay))
                .execute(&mut *self.connections.acquire().await?)
                .await?;
                Ok(count(done.rows_affected()))
            })
            .await
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        self.connections
            .attempt(async {
                let (orders, claims) = columns(&leases);
                let done = sqlx::query(
                    "UPDATE queue_entries e
             SET dead_at = clock_timestamp(), reason = $4, claim_id = NULL
             FROM unnest($2::uuid[], $3::uuid[]) AS held (order_id, claim_id)
             WHERE e.topic = $1 AND e.order_id = held.order_id AND e.claim_id = held.claim_id",
                )
                .bind(topic.as_str())
                .bind(orders)
                .bind(claims)
                .bind(reason)
                .execute(&mut *self.connections.acquire().await?)
                .await?;
                Ok(count(done.rows_affected()))
            })
            .await
    }

    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.connections
            .attempt(async {
                let rows: Vec<(Uuid, String, i32, DateTime<Utc>)> = sqlx::query_as(
                    "SELECT order_id, coalesce(reason, ''), attempts, dead_at FROM queue_entries
             WHERE topic = $1 AND dead_at IS NOT NULL ORDER BY dead_at DESC, order_id LIMIT $2",
                )
                .bind(topic.as_str())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&mut *self.connections.acquire().await?)
                .await?;
                let letter =
                    |(order_id, reason, attempts, dead_at): (Uuid, String, i32, _)| DeadLetter {
                        order_id: OrderId(order_id),
                        reason,
                        attempts: attempts.unsigned_abs(),
                        dead_at,
                    };
                Ok(rows.into_iter().map(letter).collect())
            })
            .await
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        self.connections
            .attempt(async {
                let done = sqlx::query(
                    "UPDATE queue_entries
             SET dead_at = NULL, reason = NULL, attempts = 0, visible_at = clock_timestamp()
             WHERE topic = $1 AND order_id = ANY($2) AND dead_at IS NOT NULL",
                )
                .bind(topic.as_str())
                .bind(uuids(orders.iter().copied()))
                .execute(&mut *self.connections.acquire().await?)
                .await?;
                Ok(count(done.rows_affected()))
            })
            .await
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        self.connections
            .attempt(async {
                sqlx::query("INSERT INTO queue_pauses (topic) VALUES ($1) ON CONFLICT DO NOTHING")
                    .bind(topic.as_str())
                    .execute(&mut *self.connections.acquire().await?)
                    .await?;
                Ok(())
            })
            .await
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        self.connections
            .attempt(async {
                sqlx::query("DELETE FROM queue_pauses WHERE topic = $1")
                    .bind(topic.as_str())
                    .execute(&mut *self.connections.acquire().await?)
                    .await?;
                Ok(())
            })
            .await
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        self.connections
            .attempt(async {
                let (waiting, in_flight, delayed, dead, oldest_age_seconds, paused): (
                    i64,
                    i64,
                    i64,
                    i64,
                    f64,
                    bool,
                ) = sqlx::query_as(
                    "WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
             SELECT least(due.count + packed.due, $2), later.in_flight,
                    later.count - later.in_flight, dead.count,
                    coalesce(date_part('epoch', clock.now - least(packed.oldest, (
                        SELECT visible_at FROM queue_entries
                        WHERE topic = $1 AND dead_at IS NULL
                          AND visible_at <= (SELECT now FROM clock)
                        ORDER BY visible_at LIMIT 1))), 0),
                    EXISTS (SELECT FROM queue_pauses WHERE topic = $1)
             FROM clock,
                  (SELECT coalesce(sum(tasks), 0)::bigint AS due, min(due_at) AS oldest
                   FROM (SELECT tasks, due_at FROM task_batches WHERE $1 = 'process'
                         ORDER BY due_at LIMIT $2) b) packed,
                  (SELECT count(*) FROM (
                       SELECT FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NULL
                         AND visible_at <= (SELECT now FROM clock) LIMIT $2) e) due,
                  (SELECT count(*), count(claim_id) AS in_flight FROM (
                       SELECT claim_id FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NULL
                         AND visible_at > (SELECT now FROM clock) LIMIT $2) e) later,
                  (SELECT count(*) FROM (
                       SELECT FROM queue_entries
                       WHERE topic = $1 AND dead_at IS NOT NULL LIMIT $2) e) dead",
                )
                .bind(topic.as_str())
                .bind(i64::from(COUNT_LIMIT))
                .fetch_one(&mut *self.connections.acquire().await?)
                .await?;
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
            })
            .await
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
