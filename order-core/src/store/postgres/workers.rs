//! Who works, and which topics are paused.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::PostgresStore;
use crate::{
    error::Error,
    heartbeat::{Heartbeat, KnownWorker, RETENTION, WorkerStore},
    queue::Topic,
    store::{
        retry::with_retry,
        rows::span_micros,
        task_rows::{self, names, select_worker, stored, topics},
    },
};

type WorkerRow = task_rows::WorkerRow<DateTime<Utc>>;

#[async_trait]
impl WorkerStore for PostgresStore {
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
        with_retry!(_retry => self.connections.attempt(self.heartbeat_once(beat)))
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, Error> {
        with_retry!(_retry => self.connections.attempt(self.workers_once()))
    }
}

impl PostgresStore {
    async fn heartbeat_once(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
        // A worker that forgets others skips what another is forgetting, and never itself.
        let paused: Vec<String> = sqlx::query_scalar(
            "WITH forgotten AS (
                 DELETE FROM workers WHERE id = ANY(ARRAY(
                     SELECT id FROM workers
                     WHERE heartbeat_at < clock_timestamp() - $11::bigint * interval '1 microsecond'
                       AND id <> $1
                     FOR UPDATE SKIP LOCKED))),
             told AS (
                 INSERT INTO workers (id, host, pid, version, topics, started_at, heartbeat_at,
                                      stopped_at, sold, failed, processed, in_flight)
                 SELECT $1, $2, $3, $4, $5, now, now, CASE WHEN $6 THEN now END, $7, $8, $9, $10
                 FROM (SELECT clock_timestamp() AS now) AS clock
                 ON CONFLICT (id) DO UPDATE
                 SET heartbeat_at = excluded.heartbeat_at, stopped_at = excluded.stopped_at,
                     sold = excluded.sold, failed = excluded.failed,
                     processed = excluded.processed, in_flight = excluded.in_flight)
             SELECT topic FROM queue_pauses ORDER BY topic",
        )
        .bind(beat.id)
        .bind(&beat.host)
        .bind(i64::from(beat.pid))
        .bind(&beat.version)
        .bind(names(&beat.topics))
        .bind(beat.has_stopped)
        .bind(stored(beat.counts.sold))
        .bind(stored(beat.counts.failed))
        .bind(stored(beat.counts.processed))
        .bind(stored(beat.counts.in_flight))
        .bind(span_micros(RETENTION))
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        topics(paused)
    }

    async fn workers_once(&self) -> Result<Vec<KnownWorker>, Error> {
        let rows: Vec<WorkerRow> =
            sqlx::query_as(select_worker!("clock_timestamp()", "ORDER BY id DESC"))
                .fetch_all(&mut *self.connections.acquire().await?)
                .await?;
        rows.into_iter().map(KnownWorker::try_from).collect()
    }
}
