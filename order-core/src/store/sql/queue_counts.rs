//! The entries that a topic holds in a database, counted.

use std::time::Duration;

use super::{
    backend::{SqlBackend, SqlConnection},
    value::Value,
};
use crate::{
    error::Error,
    queue::{COUNT_LIMIT, QueueStats, Topic},
};

/// The number of entries that a topic holds, where those may be claimed that have been due for
/// `delay`.
pub(super) async fn queue_stats<B: SqlBackend>(
    backend: &B,
    topic: Topic,
    delay: Duration,
) -> Result<QueueStats, Error> {
    let values = [
        Value::text(topic.as_str()),
        Value::Int(i64::from(COUNT_LIMIT)),
        Value::Ago(delay),
        Value::Now,
    ];
    let counted = async {
        let mut connection = backend.read().await?;
        connection.fetch_all(B::SQL.queue.stats, &values).await
    };
    let rows = backend.attempt(counted).await?;
    let stats: Option<(i64, i64, i64, i64, i64, f64, bool)> = rows.into_iter().next();
    let (waiting, scheduled, in_flight, delayed, dead, oldest_age_seconds, paused) =
        stats.ok_or(sqlx::Error::RowNotFound)?;
    Ok(QueueStats {
        waiting: waiting.unsigned_abs(),
        scheduled: scheduled.unsigned_abs(),
        in_flight: in_flight.unsigned_abs(),
        delayed: delayed.unsigned_abs(),
        dead: dead.unsigned_abs(),
        oldest_age_seconds,
        paused,
        capped: false,
    }
    .counted_by_a_database())
}
