//! The table `queue_entries` of a `SQLite` file as an order queue. Arrays go in as JSON, so
//! that a batch is one statement, and each statement that writes is a transaction of its own. Time
//! is that of the machine, which all who open the file are on.

use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use uuid::Uuid;

use super::{COUNT_LIMIT, DeadLetter, Lease, OrderQueue, QueueStats, Topic};
use crate::{
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId},
    error::Error,
    store::{Micros, SqliteReaders, SqliteWriter},
};

/// A queue in a `SQLite` file.
#[derive(Debug)]
pub struct SqliteQueue {
    writer: SqliteWriter,
    readers: SqliteReaders,
    claim_ids: IdGenerator,
}

impl SqliteQueue {
    /// A queue in the file of `writer` and `readers`, whose schema is migrated.
    pub(crate) fn new(writer: SqliteWriter, readers: SqliteReaders) -> Self {
        Self {
            writer,
            readers,
            claim_ids: IdGenerator::default(),
        }
    }

    /// Whether there is something to claim, without the write lock: mostly there is nothing.
    async fn is_any_due(&self, topic: Topic) -> Result<bool, Error> {
        Ok(sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM queue_pauses WHERE topic = ?1)
                AND EXISTS (SELECT 1 FROM queue_entries
                            WHERE topic = ?1 AND dead_at IS NULL AND visible_at <= ?2)",
        )
        .bind(topic.as_str())
        .bind(Micros::now())
        .fetch_one(&mut *self.readers.acquire().await?)
        .await?)
    }

    /// Runs a statement over the entries that `leases` still hold; `?2` and `?3` are its own.
    async fn consume(
        &self,
        statement: &'static str,
        topic: Topic,
        leases: &[Lease],
        at: Micros,
        reason: Option<&str>,
    ) -> Result<usize, Error> {
        let held: Vec<[String; 2]> = leases
            .iter()
            .map(|lease| [hex(lease.order_id.0), hex(lease.claim_id)])
            .collect();
        let mut tx = self.writer.begin_in_background().await?;
        let done = sqlx::query(statement)
            .bind(topic.as_str())
            .bind(sqlx::types::Json(held))
            .bind(at)
            .bind(reason)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }
}

/// The condition that an entry is held by one of the leases in `?2`.
macro_rules! where_held {
    ($action:literal) => {
        concat!(
            $action,
            " WHERE topic = ?1 AND (order_id, claim_id) IN
                 (SELECT unhex(value ->> 0), unhex(value ->> 1) FROM json_each(?2))"
        )
    };
}

#[async_trait]
impl OrderQueue for SqliteQueue {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let ids: Vec<String> = orders.iter().map(|id| hex(id.0)).collect();
        let mut tx = self.writer.begin().await?;
        let pushed = sqlx::query(
            "INSERT INTO queue_entries (topic, order_id, visible_at)
             SELECT ?1, unhex(value), ?3 FROM json_each(?2) WHERE true
             ON CONFLICT DO NOTHING",
        )
        .bind(topic.as_str())
        .bind(sqlx::types::Json(ids))
        .bind(Micros::now())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(usize::try_from(pushed.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease: Duration,
        _wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        if !self.is_any_due(topic).await? {
            return Ok(Vec::new());
        }
        let claim_id = self.claim_ids.next(SystemClock.now());
        let mut tx = self.writer.begin_in_background().await?;
        let now = Micros::now();
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "UPDATE queue_entries SET attempts = attempts + 1, runs = runs + 1, visible_at = ?4,
                 claim_id = ?5, worker_id = NULL, claimed_at = ?2
             WHERE topic = ?1 AND order_id IN (
                 SELECT order_id FROM queue_entries
                 WHERE topic = ?1 AND dead_at IS NULL AND visible_at <= ?2
                 ORDER BY visible_at, order_id
                 LIMIT CASE WHEN EXISTS (SELECT 1 FROM queue_pauses WHERE topic = ?1)
                            THEN 0 ELSE ?3 END)
             RETURNING order_id, attempts",
        )
        .bind(topic.as_str())
        .bind(now)
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .bind(now.after(lease))
        .bind(claim_id)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let mut leases: Vec<Lease> = rows
            .into_iter()
            .map(|(order_id, attempts)| Lease {
                order_id: OrderId(order_id),
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                claim_id,
            })
            .collect();
        leases.sort_unstable_by_key(|lease| lease.order_id);
        Ok(leases)
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        const ACK: &str = where_held!("DELETE FROM queue_entries");
        self.consume(ACK, topic, &leases, Micros::now(), None).await
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        const RETRY: &str =
            where_held!("UPDATE queue_entries SET visible_at = ?3, claim_id = NULL");
        let visible_at = Micros::now().after(delay);
        self.consume(RETRY, topic, &leases, visible_at, None).await
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        const DEAD_LETTER: &str =
            where_held!("UPDATE queue_entries SET dead_at = ?3, reason = ?4, claim_id = NULL");
        self.consume(DEAD_LETTER, topic, &leases, Micros::now(), Some(reason))
            .await
    }

    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let rows: Vec<(Uuid, String, u32, i64)> = sqlx::query_as(
            "SELECT order_id, coalesce(reason, ''), attempts, dead_at FROM queue_entries
             WHERE topic = ?1 AND dead_at IS NOT NULL ORDER BY dead_at DESC, order_id LIMIT ?2",
        )
        .bind(topic.as_str())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.readers.acquire().await?)
        .await?;
        let letter = |(order_id, reason, attempts, dead_at): (Uuid, String, u32, i64)| DeadLetter {
            order_id: OrderId(order_id),
            reason,
            attempts,
            dead_at: DateTime::from_timestamp_micros(dead_at).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(letter).collect())
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let ids: Vec<String> = orders.iter().map(|id| hex(id.0)).collect();
        let mut tx = self.writer.begin().await?;
        let done = sqlx::query(
            "UPDATE queue_entries SET dead_at = NULL, reason = NULL, attempts = 0, visible_at = ?3
             WHERE topic = ?1 AND dead_at IS NOT NULL
               AND order_id IN (SELECT unhex(value) FROM json_each(?2))",
        )
        .bind(topic.as_str())
        .bind(sqlx::types::Json(ids))
        .bind(Micros::now())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        let mut tx = self.writer.begin().await?;
        sqlx::query("INSERT INTO queue_pauses (topic) VALUES (?1) ON CONFLICT DO NOTHING")
            .bind(topic.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        let mut tx = self.writer.begin().await?;
        sqlx::query("DELETE FROM queue_pauses WHERE topic = ?1")
            .bind(topic.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        let now = Micros::now();
        let (waiting, in_flight, delayed, dead, oldest, paused): (
            i64,
            i64,
            i64,
            i64,
            Option<Micros>,
            bool,
        ) = sqlx::query_as(
            "SELECT due.count, later.in_flight, later.count - later.in_flight, dead.count,
                        (SELECT min(visible_at) FROM queue_entries
                         WHERE topic = ?1 AND dead_at IS NULL AND visible_at <= ?2),
                        EXISTS (SELECT 1 FROM queue_pauses WHERE topic = ?1)
                 FROM (SELECT count(*) AS count FROM (
                           SELECT 1 FROM queue_entries
                           WHERE topic = ?1 AND dead_at IS NULL AND visible_at <= ?2
                           LIMIT ?3)) due,
                      (SELECT count(*) AS count, count(claim_id) AS in_flight FROM (
                           SELECT claim_id FROM queue_entries
                           WHERE topic = ?1 AND dead_at IS NULL AND visible_at > ?2
                           LIMIT ?3)) later,
                      (SELECT count(*) AS count FROM (
                           SELECT 1 FROM queue_entries
                           WHERE topic = ?1 AND dead_at IS NOT NULL LIMIT ?3)) dead",
        )
        .bind(topic.as_str())
        .bind(now)
        .bind(i64::from(COUNT_LIMIT))
        .fetch_one(&mut *self.readers.acquire().await?)
        .await?;
        Ok(QueueStats {
            waiting: waiting.unsigned_abs(),
            in_flight: in_flight.unsigned_abs(),
            delayed: delayed.unsigned_abs(),
            dead: dead.unsigned_abs(),
            oldest_age_seconds: oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()),
            paused,
            capped: false,
        }
        .counted_by_a_database())
    }
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}
