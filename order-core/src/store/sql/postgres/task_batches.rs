//! Tasks as they are packed, many in a row.
//!
//! A statement that sells writes one row for all that it sold: the cost of a thousand entries is not
//! paid while their product is locked. A claim leases whole rows (see `task_leases`). A row that
//! stands at the head and cannot be leased is unpacked into entries, by a statement of its own: one
//! that holds more tasks than the claim may give, and one whose lease ran out. Their age goes by the
//! clock of the database, whatever the clock of the seller says. A task is in one of the two places
//! in every snapshot, and counted once.
//!
//! A row that is leased says the same as entries that were claimed once each: the claim, and in
//! `due_at` the time at which it ends. So unpacking it loses nothing.
//!
//! A row is locked by a claim that leases or unpacks it, by the ends of its tasks, and by a
//! cancellation that takes a task out of it. The claim skips what others hold; the others wait, and
//! find the entry.

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
/// there are; none that is younger than the `$3` entries, from `$4` on, that have their turn before it,
/// and none from the first on that can be leased, which holds up to `$5` tasks.
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
    oldest AS MATERIALIZED (
        SELECT due_at, fits, sum(tasks) OVER in_order - tasks AS before,
               bool_or(fits) OVER in_order AS is_past
        FROM (SELECT due_at, tasks, claim_id IS NULL AND tasks <= $5 AS fits FROM task_batches
              WHERE due_at BETWEEN $1 AND (
                  SELECT coalesce((SELECT until FROM entries), due) FROM clock)
              ORDER BY due_at LIMIT $3) AS batches
        WINDOW in_order AS (ORDER BY due_at ROWS UNBOUNDED PRECEDING)),
    due AS MATERIALIZED (
        SELECT id, due_at, order_ids, tasks, claim_id, worker_id, claimed_at FROM task_batches
        WHERE due_at BETWEEN $1 AND (
            SELECT coalesce((SELECT until FROM entries), due) FROM clock)
          AND NOT (claim_id IS NULL AND tasks <= $5)
          AND NOT EXISTS (SELECT FROM queue_pauses WHERE topic = 'process')
        ORDER BY due_at LIMIT (SELECT count(*) FROM oldest WHERE before < $3 AND NOT is_past)
        FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM task_batches WHERE id = ANY(ARRAY(SELECT id FROM due))),
    unpacked AS (
        INSERT INTO queue_entries (topic, order_id, visible_at, attempts, runs,
                                   claim_id, worker_id, claimed_at)
        SELECT 'process', order_id, due_at, (claim_id IS NOT NULL)::integer,
               (claim_id IS NOT NULL)::integer, claim_id, worker_id, claimed_at
        FROM due, unnest(order_ids) AS order_id
        ON CONFLICT DO NOTHING)
    SELECT max(due_at) AS last,
           coalesce(sum(tasks), 0) >= $3 OR EXISTS (SELECT FROM entries) AS is_enough,
           (SELECT min(due_at) FROM oldest WHERE fits) AS next
    FROM due";

/// The time at which the last task that was unpacked came, whether there are as many entries now
/// as were asked for, and the time at which those came that can be leased after them.
pub(super) type Unpacked = (Option<StoredTime>, bool, Option<StoredTime>);

/// Sees to it that the tasks that a claim of so many would take are entries: those that
/// came after `from` and at least `delay` ago, in their order with the entries that are due from
/// `entries_from` on. Rows of up to `room` tasks that nobody claimed stay packed.
pub(super) async fn unpack(
    connection: &mut PgConnection,
    from: DateTime<Utc>,
    delay: Duration,
    tasks: usize,
    entries_from: DateTime<Utc>,
    room: usize,
) -> Result<Unpacked, Error> {
    let values = [
        Value::Time(from),
        Value::Ago(delay),
        Value::count(tasks.max(1)),
        Value::Time(entries_from),
        Value::count(room),
    ];
    connection.fetch_one(UNPACK, &values).await
}

impl PostgresStore {
    /// Sees to it that what `claim` would take and cannot lease are entries; gives the time at which
    /// the first came that it can.
    pub(super) async fn unpack(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> Result<Option<StoredTime>, Error> {
        let from = self.due_batches.from();
        let (is_there, next) = self.unpack_due(connection, claim, from).await?;
        if !is_there && from > DueCursor::EVERYTHING {
            let all = DueCursor::EVERYTHING;
            return Ok(self.unpack_due(connection, claim, all).await?.1);
        }
        Ok(next)
    }

    /// Unpacks batches from a time on; tells whether there is something to claim now, and since
    /// when there is something to lease.
    async fn unpack_due(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        from: DateTime<Utc>,
    ) -> Result<(bool, Option<StoredTime>), Error> {
        let (began, entries_from) = (Instant::now(), self.due_entries.from());
        let (delay, max, room) = (claim.delay, claim.max, claim.room());
        let unpacked = unpack(connection, from, delay, max, entries_from, room).await?;
        let (last, is_enough, next) = unpacked;
        let (last, is_there) = (last.map(|at| at.0), is_enough || next.is_some());
        self.due_batches.claimed(from, began, last, is_there);
        Ok((is_there || last.is_some(), next))
    }
}
