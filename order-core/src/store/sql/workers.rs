//! Workers: their heartbeats, and the topics that are paused.

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    backend::{SqlBackend, SqlConnection, SqlTransaction},
    retry::{reading, with_retry},
    value::{StoredTime, Value},
};
use crate::{
    error::Error,
    heartbeat::{Heartbeat, KnownWorker, RETENTION, WorkerCounts, WorkerStore},
    queue::Topic,
};

#[async_trait]
impl<B: SqlBackend> WorkerStore for B {
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
        with_retry(self, |_| heartbeat(self, beat)).await
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, Error> {
        reading(self, || workers(self)).await
    }
}

/// Stores the heartbeat of a worker, and forgets workers that were silent for long.
async fn heartbeat<B: SqlBackend>(backend: &B, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
    let statements = B::SQL.tasks;
    let names: Vec<&str> = beat.topics.iter().map(|topic| topic.as_str()).collect();
    let names = names.join(" ");
    let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let values = [
        Value::Id(beat.id),
        Value::text(&beat.host),
        Value::Int(i64::from(beat.pid)),
        Value::text(&beat.version),
        Value::text(&names),
        Value::Bool(beat.has_stopped),
        count(beat.counts.sold),
        count(beat.counts.failed),
        count(beat.counts.processed),
        count(beat.counts.in_flight),
        Value::Ago(RETENTION),
        Value::Now,
    ];
    let mut tx = backend.begin_apart().await?;
    for statement in statements.write_heartbeat {
        tx.execute(*statement, &values).await?;
    }
    let paused: Vec<(String,)> = tx.fetch_all(statements.paused, &values).await?;
    tx.commit().await?;
    topics(paused.into_iter().map(|(topic,)| topic))
}

async fn workers<B: SqlBackend>(backend: &B) -> Result<Vec<KnownWorker>, Error> {
    let mut connection = backend.read().await?;
    let rows: Vec<WorkerRow> = connection
        .fetch_all(B::SQL.tasks.workers, &[Value::Now])
        .await?;
    rows.into_iter().map(KnownWorker::try_from).collect()
}

#[derive(FromRow)]
pub(super) struct WorkerRow {
    id: Uuid,
    host: String,
    pid: i64,
    version: String,
    topics: String,
    started_at: StoredTime,
    heartbeat_at: StoredTime,
    stopped_at: Option<StoredTime>,
    sold: i64,
    failed: i64,
    processed: i64,
    in_flight: i64,
    now: StoredTime,
}

impl TryFrom<WorkerRow> for KnownWorker {
    type Error = Error;

    fn try_from(row: WorkerRow) -> Result<Self, Error> {
        let stopped_at = row.stopped_at.map(|at| at.0);
        let heartbeat_at = row.heartbeat_at.0;
        let heartbeat = Heartbeat {
            id: row.id,
            host: row.host,
            pid: u32::try_from(row.pid).map_err(Error::corrupt)?,
            version: row.version,
            topics: topics(row.topics.split_whitespace())?,
            has_stopped: stopped_at.is_some(),
            counts: WorkerCounts {
                sold: row.sold.unsigned_abs(),
                failed: row.failed.unsigned_abs(),
                processed: row.processed.unsigned_abs(),
                in_flight: row.in_flight.unsigned_abs(),
            },
        };
        let silent_for = row.now.0 - heartbeat_at;
        Ok(Self {
            heartbeat,
            started_at: row.started_at.0,
            heartbeat_at,
            stopped_at,
            silent_for: silent_for.to_std().unwrap_or_default(),
        })
    }
}

/// Topics by their names.
fn topics(names: impl IntoIterator<Item: AsRef<str>>) -> Result<Vec<Topic>, Error> {
    let topic = |name: &str| name.parse().map_err(Error::corrupt);
    names.into_iter().map(|name| topic(name.as_ref())).collect()
}
