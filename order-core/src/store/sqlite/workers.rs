//! Who works, and which topics are paused.

use async_trait::async_trait;

use super::SqliteStore;
use crate::{
    error::Error,
    heartbeat::{Heartbeat, KnownWorker, RETENTION, WorkerStore},
    queue::Topic,
    store::{
        retry::with_retry,
        rows::Micros,
        task_rows::{self, names, select_worker, stored, topics},
    },
};

type WorkerRow = task_rows::WorkerRow<Micros>;

#[async_trait]
impl WorkerStore for SqliteStore {
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
        with_retry!(_retry => self.heartbeat_once(beat))
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, Error> {
        let rows: Vec<WorkerRow> = sqlx::query_as(select_worker!("?1", "ORDER BY id DESC"))
            .bind(Micros::now())
            .fetch_all(&mut *self.readers.acquire().await?)
            .await?;
        rows.into_iter().map(KnownWorker::try_from).collect()
    }
}

impl SqliteStore {
    async fn heartbeat_once(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
        let mut tx = self.writer.begin_in_background().await?;
        let now = Micros::now();
        sqlx::query("DELETE FROM workers WHERE heartbeat_at < ?1 AND id <> ?2")
            .bind(now.before(RETENTION))
            .bind(beat.id)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO workers (id, host, pid, version, topics, started_at, heartbeat_at,
                                  stopped_at, sold, failed, processed, in_flight)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO UPDATE
             SET heartbeat_at = ?7, stopped_at = ?8, sold = ?9, failed = ?10,
                 processed = ?11, in_flight = ?12",
        )
        .bind(beat.id)
        .bind(&beat.host)
        .bind(i64::from(beat.pid))
        .bind(&beat.version)
        .bind(names(&beat.topics))
        .bind(now)
        .bind(now)
        .bind(beat.has_stopped.then_some(now))
        .bind(stored(beat.counts.sold))
        .bind(stored(beat.counts.failed))
        .bind(stored(beat.counts.processed))
        .bind(stored(beat.counts.in_flight))
        .execute(&mut *tx)
        .await?;
        let paused: Vec<String> =
            sqlx::query_scalar("SELECT topic FROM queue_pauses ORDER BY topic")
                .fetch_all(&mut *tx)
                .await?;
        tx.commit().await?;
        topics(paused)
    }
}
