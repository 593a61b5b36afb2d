//! Tasks that nobody claimed yet, many in a row.
//!
//! A statement that sells writes one row for all that it sold: the cost of a thousand entries is not
//! paid while their product is locked. Before each claim, the rows that are older than what it would
//! take are unpacked into entries, by a statement of its own. Their age goes by the clock of the
//! database, whatever the clock of the seller says. A task is in one of the two places in every
//! snapshot, and counted once.
//!
//! A row is locked by a claim that unpacks it, and by a cancellation that takes a task out of it.
//! The claim skips what the cancellation holds; the cancellation waits, and finds the entry.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{due_cursor::DueCursor, store::PostgresStore};
use crate::{
    error::Error,
    process::Claim,
    store::sql::{
        backend::SqlConnection,
        value::{StoredTime, Value},
    },
};

/// Unpacks the oldest rows from `$1` to `$2` microseconds ago: as many as hold `$3` tasks, or all
/// there are; none that is younger than the `$3` entries, from `$4` on, that have their turn before it.
///
/// A task that is an entry already was put there by somebody past this system: it stays.
const UNPACK: &str = "
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() - $2::bigint * interval '1 microsecond' AS due),
    entries AS MATERIALIZED (
        SELECT visible_at AS until FROM queue_entries
        WHERE topic = 'process' AND dead_at IS NULL
          AND visible_at BETWEEN $4 AND (SELECT due FROM clock)
        ORDER BY visible_at OFFSET $3 - 1 LIMIT 1),
    oldest AS (
        SELECT sum(tasks) OVER (ORDER BY due_at ROWS UNBOUNDED PRECEDING) - tasks AS before
        FROM (SELECT due_at, tasks FROM task_batches
              WHERE due_at BETWEEN $1 AND (
                  SELECT coalesce((SELECT until FROM entries), due) FROM clock)
              ORDER BY due_at LIMIT $3) AS batches),
    due AS MATERIALIZED (
        SELECT id, due_at, order_ids, tasks FROM task_batches
        WHERE due_at BETWEEN $1 AND (
            SELECT coalesce((SELECT until FROM entries), due) FROM clock)
          AND NOT EXISTS (SELECT FROM queue_pauses WHERE topic = 'process')
        ORDER BY due_at LIMIT (SELECT count(*) FROM oldest WHERE before < $3)
        FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM task_batches WHERE id = ANY(ARRAY(SELECT id FROM due))),
    unpacked AS (
        INSERT INTO queue_entries (topic, order_id, visible_at)
        SELECT 'process', order_id, due_at FROM due, unnest(order_ids) AS order_id
        ON CONFLICT DO NOTHING)
    SELECT max(due_at) AS last,
           coalesce(sum(tasks), 0) >= $3 OR EXISTS (SELECT FROM entries) AS is_enough FROM due";

/// The time at which the last task that was unpacked came, and whether there are as many entries now
/// as were asked for.
pub(super) type Unpacked = (Option<StoredTime>, bool);

/// Sees to it that the tasks that a claim of so many would take are entries: those that were
/// came after `from` and at least `delay` ago, in their order with the entries that are due from
/// `entries_from` on.
pub(super) async fn unpack(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
    delay: Duration,
    tasks: usize,
    entries_from: DateTime<Utc>,
) -> Result<Unpacked, Error> {
    let values = [
        Value::Time(from),
        Value::Ago(delay),
        Value::count(tasks.max(1)),
        Value::Time(entries_from),
    ];
    connection.fetch_one(UNPACK, &values).await
}

impl PostgresStore {
    /// Sees to it that what `claim` would take are entries.
    pub(super) async fn unpack(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> Result<(), Error> {
        let from = self.due_batches.from();
        let is_there = self.unpack_due(connection, claim, from).await?;
        if !is_there && from > DueCursor::EVERYTHING {
            self.unpack_due(connection, claim, DueCursor::EVERYTHING)
                .await?;
        }
        Ok(())
    }

    /// Unpacks batches from a time on; tells whether there is something to claim now.
    async fn unpack_due(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        from: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let (began, entries_from) = (Instant::now(), self.due_entries.from());
        let (last, is_enough) =
            unpack(connection, from, claim.delay, claim.max, entries_from).await?;
        let last = last.map(|at| at.0);
        self.due_batches.claimed(from, began, last, is_enough);
        Ok(is_enough || last.is_some())
    }
}
