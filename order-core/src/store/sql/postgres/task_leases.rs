//! Tasks that are leased as they are packed: many are claimed by one update, and nothing is written
//! for each of them but the state of its order.
//!
//! Ends come for some of a row or for all of it. Those that are done are taken out of the row, and
//! a row that is empty goes. What is not done becomes an entry under the same claim, and goes on from
//! there by itself, as does what was cancelled meanwhile. When the lease runs out, the next claim
//! unpacks the rest.

use std::{collections::HashSet, time::Instant};

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::store::PostgresStore;
use crate::{
    error::Error,
    process::{AttemptResult, Claim},
    store::sql::{
        backend::SqlConnection,
        rows,
        tasks::{ClaimedRow, PackedEnds},
        value::{Value, count, span_micros},
    },
};

/// The most rows that one claim looks at: each is read before it is leased.
const MOST_ROWS: usize = 256;

/// Leases the oldest rows that came from `$1` to `$2` microseconds ago, as many as hold `$3` tasks,
/// up to `$8` rows; none that is younger than the first entry, from `$4` on, and none from the first
/// on whose lease ran out.
const LEASE: &str = "
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
    looked AS MATERIALIZED (
        SELECT now - $2::bigint * interval '1 microsecond' AS due FROM clock),
    entry AS MATERIALIZED (
        SELECT visible_at AS until FROM queue_entries
        WHERE topic = 'process' AND dead_at IS NULL
          AND visible_at BETWEEN $4 AND (SELECT due FROM looked)
        ORDER BY visible_at LIMIT 1),
    oldest AS MATERIALIZED (
        SELECT sum(tasks) OVER in_order <= $3
               AND NOT bool_or(claim_id IS NOT NULL) OVER in_order AS fits
        FROM (SELECT due_at, tasks, claim_id FROM task_batches
              WHERE due_at BETWEEN $1 AND (
                  SELECT coalesce((SELECT until FROM entry), due) FROM looked)
              ORDER BY due_at LIMIT $8) AS batches
        WINDOW in_order AS (ORDER BY due_at ROWS UNBOUNDED PRECEDING)),
    due AS MATERIALIZED (
        SELECT id, due_at, tasks, claim_id FROM task_batches
        WHERE due_at BETWEEN $1 AND (SELECT coalesce((SELECT until FROM entry), due) FROM looked)
          AND NOT EXISTS (SELECT FROM queue_pauses WHERE topic = 'process')
        ORDER BY due_at LIMIT (SELECT count(*) FROM oldest WHERE fits)
        FOR UPDATE SKIP LOCKED),
    whole AS MATERIALIZED (
        SELECT id, due_at
        FROM (SELECT id, due_at, claim_id, sum(tasks) OVER (ROWS UNBOUNDED PRECEDING) AS total
              FROM due) AS locked
        WHERE total <= $3 AND claim_id IS NULL),
    leased AS (
        UPDATE task_batches
        SET claim_id = $5, worker_id = $6, claimed_at = (SELECT now FROM clock),
            due_at = (SELECT now + $7::bigint * interval '1 microsecond' FROM clock)
        WHERE id = ANY(ARRAY(SELECT id FROM whole))
        RETURNING order_ids)
    SELECT order_ids, (SELECT max(due_at) FROM whole) AS last,
           coalesce((SELECT until FROM entry), due) AS looked_until
    FROM looked LEFT JOIN leased ON true";

/// `$1` are claims, and `$2` the orders whose attempts ended; those in `$3` go on as entries.
///
/// Rows are found first and then locked in id order: what they hold is asked again after that.
const END_PACKED: &str = "
    WITH held AS MATERIALIZED (
        SELECT id, order_ids, due_at, claim_id, worker_id, claimed_at FROM task_batches
        WHERE id = ANY(ARRAY(
            SELECT id
            FROM (SELECT id, order_id IN (SELECT unnest($2::uuid[])) AS has_ended
                  FROM task_batches, unnest(order_ids) AS order_id
                  WHERE claim_id = ANY($1) OFFSET 0) AS leased
            WHERE has_ended))
        FOR UPDATE),
    tasks AS MATERIALIZED (
        SELECT held.*, order_id, order_id IN (SELECT unnest($2::uuid[])) AS has_ended,
               order_id IN (SELECT unnest($3::uuid[])) AS goes_on
        FROM held, unnest(order_ids) AS order_id),
    rest AS MATERIALIZED (
        SELECT id, array_agg(order_id) FILTER (WHERE NOT has_ended) AS order_ids
        FROM tasks GROUP BY id),
    gone AS (
        DELETE FROM task_batches WHERE id = ANY(ARRAY(SELECT id FROM rest WHERE order_ids IS NULL))),
    left_over AS (
        UPDATE task_batches
        SET order_ids = (SELECT rest.order_ids FROM rest WHERE rest.id = task_batches.id)
        WHERE id = ANY(ARRAY(SELECT id FROM rest WHERE order_ids IS NOT NULL))),
    entries AS (
        INSERT INTO queue_entries (topic, order_id, visible_at, attempts, runs,
                                   claim_id, worker_id, claimed_at)
        SELECT 'process', order_id, due_at, 1, 1, claim_id, worker_id, claimed_at
        FROM tasks WHERE goes_on ON CONFLICT DO NOTHING)
    SELECT count(*) FROM tasks WHERE has_ended AND NOT goes_on";

/// The task of an order that is being cancelled leaves its row. One that was claimed is an entry
/// from then on, under the same claim.
pub(super) const REMOVE_FROM_BATCH: &str = "
    WITH removed AS (
        UPDATE task_batches SET order_ids = array_remove(order_ids, $1)
        WHERE sold_at = $2 AND $1 = ANY(order_ids)
        RETURNING id, tasks, due_at, claim_id, worker_id, claimed_at),
    entry AS (
        INSERT INTO queue_entries (topic, order_id, visible_at, attempts, runs,
                                   claim_id, worker_id, claimed_at)
        SELECT 'process', $1, due_at, 1, 1, claim_id, worker_id, claimed_at
        FROM removed WHERE claim_id IS NOT NULL ON CONFLICT DO NOTHING)
    SELECT id, tasks FROM removed";

pub(super) const DELETE_BATCH: &str = "DELETE FROM task_batches WHERE id = $1";

/// A row that was leased, or none; with the last of the times at which such rows were due, and
/// the time up to which there is no entry.
#[derive(FromRow)]
struct LeasedRow {
    order_ids: Option<Vec<Uuid>>,
    last: Option<DateTime<Utc>>,
    looked_until: DateTime<Utc>,
}

impl PostgresStore {
    /// Leases packed tasks that have their turn before all entries. Those that are due behind the
    /// cursor are found when there is nothing else (see `unpack`).
    pub(super) async fn lease_packed(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> Result<Vec<ClaimedRow>, Error> {
        let from = self.due_batches.from();
        self.lease_from(connection, claim, from).await
    }

    /// Leases packed tasks from `next` on, besides the entries of the same claim. One that is an
    /// entry already was put there by somebody past this system: it has one attempt, and not two.
    pub(super) async fn add_packed(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        next: DateTime<Utc>,
        rows: &mut Vec<ClaimedRow>,
    ) -> Result<(), Error> {
        let claimed: HashSet<Uuid> = rows.iter().map(|row| row.order_id).collect();
        let rest = claim.after(rows.len());
        let leased = self.lease_from(connection, &rest, next).await?;
        let is_new = |row: &ClaimedRow| !claimed.contains(&row.order_id);
        let (new, twice): (Vec<_>, Vec<_>) = leased.into_iter().partition(is_new);
        if !twice.is_empty() {
            let twice = twice.into_iter().map(|row| row.order_id).collect();
            take_out(connection, vec![claim.id], twice, Vec::new()).await?;
        }
        rows.extend(new);
        Ok(())
    }

    async fn lease_from(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        from: DateTime<Utc>,
    ) -> Result<Vec<ClaimedRow>, Error> {
        let (began, entries_from) = (Instant::now(), self.due_entries.from());
        let rows: Vec<LeasedRow> = sqlx::query_as(LEASE)
            .bind(from)
            .bind(span_micros(claim.delay))
            .bind(count(claim.room()))
            .bind(entries_from)
            .bind(claim.id)
            .bind(claim.worker_id)
            .bind(span_micros(claim.lease))
            .bind(count(MOST_ROWS.min(claim.room())))
            .fetch_all(connection)
            .await?;
        let leased = rows
            .iter()
            .filter_map(|row| row.order_ids.as_ref())
            .flatten();
        let leased: Vec<ClaimedRow> = leased.copied().map(ClaimedRow::packed).collect();
        if let Some(LeasedRow {
            last: Some(last),
            looked_until,
            ..
        }) = rows.first()
        {
            let (looked_until, has_more) = (Some(*looked_until), leased.len() >= claim.max);
            self.due_batches.claimed(from, began, Some(*last), has_more);
            self.due_entries
                .claimed(entries_from, began, looked_until, has_more);
        }
        Ok(leased)
    }
}

/// Ends attempts at tasks that were leased as they are packed; gives the number of those that are
/// gone.
pub(super) async fn end_packed(
    connection: &mut PgConnection,
    ended: &[AttemptResult],
) -> Result<u64, Error> {
    let PackedEnds {
        claims,
        orders,
        go_on,
    } = PackedEnds::of(ended);
    take_out(connection, claims, orders, go_on).await
}

/// Takes orders out of the rows that were leased by claims. Those that go on become entries.
async fn take_out(
    connection: &mut PgConnection,
    claims: Vec<Uuid>,
    orders: Vec<Uuid>,
    go_on: Vec<Uuid>,
) -> Result<u64, Error> {
    let values = [Value::Ids(claims), Value::Ids(orders), Value::Ids(go_on)];
    let (gone,): rows::Count = connection.fetch_one(END_PACKED, &values).await?;
    Ok(gone.unsigned_abs())
}
