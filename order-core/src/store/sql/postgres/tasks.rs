//! Tasks: the statements over entries of the topic `process`, and the way they are claimed.
//!
//! A claim locks tasks only, skipping what others hold, and so waits for nobody. What is due first in
//! `task_batches` is leased as it is packed, or unpacked when it does not fit.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::{due_cursor::DueCursor, store::PostgresStore, task_batches::unpack};
use crate::{
    error::Error,
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskState},
    queue::Topic,
    store::sql::{
        backend::{SqlBackend, SqlConnection},
        orders::read_orders,
        statements::TaskStatements,
        tasks::{ClaimedRow, TaskSteps, claimed, lease_ran_out, storable},
        value::{StoredTime, Value, span_micros},
    },
};

/// Tasks in a state: entries, and those that still lie in a batch.
macro_rules! in_state {
    ($entries:literal, $batches:literal) => {
        concat!(
            "WITH clock AS MATERIALIZED (
                 SELECT now, now - $2::bigint * interval '1 microsecond' AS due
                 FROM (SELECT clock_timestamp() AS now) AS clock)
             SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason,
                    (SELECT now FROM clock) AS now
             FROM ((SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason
                    FROM queue_entries WHERE topic = 'process' AND dead_at IS NULL AND ",
            $entries,
            " ORDER BY visible_at LIMIT $1)
                   UNION ALL
                   (SELECT id, (claim_id IS NOT NULL)::integer, false, due_at, claim_id, NULL, NULL
                    FROM (SELECT order_ids, due_at, claim_id FROM task_batches WHERE ",
            $batches,
            " ORDER BY due_at LIMIT $1) batch, unnest(order_ids) AS id LIMIT $1)) tasks
             ORDER BY visible_at, order_id LIMIT $1"
        )
    };
}

const fn in_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Waiting => in_state!(
            "visible_at <= (SELECT due FROM clock)",
            "due_at <= (SELECT due FROM clock)"
        ),
        TaskState::Scheduled => in_state!(
            "visible_at > (SELECT due FROM clock) AND claim_id IS NULL AND runs = 0",
            "due_at > (SELECT due FROM clock) AND claim_id IS NULL"
        ),
        TaskState::InFlight => in_state!(
            "visible_at > (SELECT now FROM clock) AND claim_id IS NOT NULL",
            "due_at > (SELECT now FROM clock) AND claim_id IS NOT NULL"
        ),
        TaskState::Retrying => in_state!(
            "visible_at > (SELECT due FROM clock) AND (claim_id IS NULL AND runs > 0
                 OR claim_id IS NOT NULL AND visible_at <= (SELECT now FROM clock))",
            "due_at > (SELECT due FROM clock) AND due_at <= (SELECT now FROM clock)
                 AND claim_id IS NOT NULL"
        ),
        TaskState::Dead => DEAD,
    }
}

const DEAD: &str = "SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason,
        clock_timestamp() AS now
     FROM queue_entries WHERE topic = 'process' AND dead_at IS NOT NULL
     ORDER BY dead_at DESC, order_id LIMIT $1";

pub(super) const STATEMENTS: TaskStatements = TaskStatements {
    lock_status: "SELECT status::text FROM orders WHERE id = $1 FOR NO KEY UPDATE",
    // Not of an order whose task still lies in a batch: it could not be there sooner.
    insert: "INSERT INTO queue_entries (topic, order_id, visible_at, runs)
    SELECT 'process', $1, clock_timestamp(),
           coalesce((SELECT max(attempt) FROM process_attempts WHERE order_id = $1), 0)
    WHERE NOT EXISTS (SELECT FROM orders,
                          LATERAL (SELECT order_ids FROM task_batches
                                   WHERE sold_at = coalesce(orders.confirmed_at,
                                                            orders.decided_at) OFFSET 0) batch
                      WHERE orders.id = $1 AND $1 = ANY(order_ids))
    ON CONFLICT (topic, order_id) DO NOTHING",
    make_due: "
    UPDATE queue_entries
    SET attempts = CASE WHEN dead_at IS NULL THEN attempts ELSE 0 END, dead_at = NULL,
        reason = NULL,
        visible_at = CASE WHEN claim_id IS NULL THEN least(visible_at, clock_timestamp())
                          ELSE visible_at END
    WHERE topic = 'process' AND order_id = $1",
    mark_compensating: "UPDATE queue_entries
         SET compensates = true, returned = false, attempts = 0, dead_at = NULL, reason = NULL,
             visible_at = CASE WHEN claim_id IS NULL THEN clock_timestamp() ELSE visible_at END
         WHERE topic = 'process' AND order_id = $1",
    mark_returned: "UPDATE queue_entries SET returned = true
         WHERE topic = 'process' AND order_id = $1 AND (runs > 0 OR $2)
           AND (claim_id IS NOT NULL OR NOT compensates)",
    insert_compensation:
        "INSERT INTO queue_entries (topic, order_id, visible_at, runs, compensates)
         SELECT 'process', $1, clock_timestamp(),
                coalesce((SELECT max(attempt) FROM process_attempts WHERE order_id = $1), 0), true
         ON CONFLICT (topic, order_id) DO NOTHING",
    // An entry, or a task that still lies in a batch: one snapshot has it in one of the two places.
    task: "SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason,
            clock_timestamp() AS now
         FROM queue_entries WHERE topic = 'process' AND order_id = $1
         UNION ALL
         SELECT orders.id, (claim_id IS NOT NULL)::integer, false, due_at, claim_id, NULL, NULL,
                clock_timestamp()
         FROM orders, LATERAL (SELECT due_at, claim_id, order_ids FROM task_batches
                               WHERE sold_at = coalesce(orders.confirmed_at,
                                                        orders.decided_at) OFFSET 0) batch
         WHERE orders.id = $1 AND $1 = ANY(order_ids) LIMIT 1",
    in_state,
    workers: "SELECT id, host, pid, version, topics, started_at, heartbeat_at, stopped_at,
            sold, failed, processed, in_flight, clock_timestamp() AS now
         FROM workers ORDER BY id DESC",
    write_heartbeat: &[],
    // A worker that forgets others skips what another is forgetting, and never itself.
    paused: "WITH forgotten AS (
         DELETE FROM workers WHERE id = ANY(ARRAY(
             SELECT id FROM workers
             WHERE heartbeat_at < clock_timestamp() - $11::bigint * interval '1 microsecond'
               AND id <> $1
             FOR UPDATE SKIP LOCKED))),
     written AS (
         INSERT INTO workers (id, host, pid, version, topics, started_at, heartbeat_at,
                              stopped_at, sold, failed, processed, in_flight)
         SELECT $1, $2, $3, $4, $5, now, now, CASE WHEN $6 THEN now END, $7, $8, $9, $10
         FROM (SELECT clock_timestamp() AS now) AS clock
         ON CONFLICT (id) DO UPDATE
         SET heartbeat_at = excluded.heartbeat_at, stopped_at = excluded.stopped_at,
             sold = excluded.sold, failed = excluded.failed,
             processed = excluded.processed, in_flight = excluded.in_flight)
     SELECT topic FROM queue_pauses ORDER BY topic",
};

/// The order of the rows is one that only the index of what is due has. The clock is asked once:
/// what it says is the end of a range in that index, and where the leases begin.
const CLAIM: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
     due AS MATERIALIZED (
         SELECT order_id, runs, visible_at, claim_id, worker_id, claimed_at FROM queue_entries
         WHERE topic = 'process' AND dead_at IS NULL
           AND visible_at BETWEEN $1 AND (
               SELECT least(now - $2::bigint * interval '1 microsecond', $7) FROM clock)
           AND NOT EXISTS (SELECT FROM queue_pauses WHERE topic = 'process')
         ORDER BY visible_at LIMIT $3 FOR UPDATE SKIP LOCKED),
     lapsed AS (
         INSERT INTO process_attempts (order_id, attempt, worker_id, started_at, ended_at, error)
         SELECT order_id, runs, worker_id, coalesce(claimed_at, visible_at), visible_at, ",
    lease_ran_out!(),
    "    FROM due WHERE claim_id IS NOT NULL ON CONFLICT DO NOTHING),
     claimed AS (
         UPDATE queue_entries
         SET attempts = attempts + 1, runs = runs + 1, claim_id = $5, worker_id = $6,
             claimed_at = (SELECT now FROM clock),
             visible_at = (SELECT now + $4::bigint * interval '1 microsecond' FROM clock)
         WHERE topic = 'process' AND order_id = ANY(ARRAY(SELECT order_id FROM due))
         RETURNING order_id, attempts, runs, compensates)
     SELECT claimed.*, (SELECT max(visible_at) FROM due) AS last FROM claimed"
);

/// A task that is done leaves the queue, unless its order was cancelled meanwhile, or gave something
/// back: it is undone, or told so.
pub(super) const DELETE_DONE: &str = "DELETE FROM queue_entries
     WHERE topic = 'process' AND order_id = ANY($1)
       AND claim_id::text = $2::jsonb -> order_id::text ->> 'claim_id'
       AND compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean AND NOT returned";

/// A task that is not done goes back, or is dead; one that was cancelled meanwhile is due at once, and
/// so is the compensation that follows one that is done when a return came meanwhile.
pub(super) const PUT_BACK: &str = "
    UPDATE queue_entries
    SET claim_id = NULL,
        compensates = compensates OR (returned
            AND ($2::jsonb -> order_id::text -> 'done')::boolean),
        returned = returned AND NOT ($2::jsonb -> order_id::text -> 'done')::boolean,
        visible_at = CASE
            WHEN ($2::jsonb -> order_id::text -> 'done')::boolean THEN clock_timestamp()
            WHEN compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean
            THEN coalesce(clock_timestamp() + ($2::jsonb -> order_id::text ->> 'retry_us')::bigint
                              * interval '1 microsecond', visible_at)
            ELSE clock_timestamp() END,
        dead_at = CASE WHEN compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean
            AND $2::jsonb -> order_id::text ->> 'reason' IS NOT NULL
            THEN clock_timestamp() END,
        reason = CASE WHEN compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean
            THEN $2::jsonb -> order_id::text ->> 'reason' END,
        attempts = CASE WHEN ($2::jsonb -> order_id::text -> 'done')::boolean THEN 0
            ELSE attempts - CASE WHEN attempts > 0
                AND ($2::jsonb -> order_id::text -> 'not_made')::boolean THEN 1 ELSE 0 END END,
        runs = runs - ($2::jsonb -> order_id::text -> 'not_begun')::boolean::integer
    WHERE topic = 'process' AND order_id = ANY($1)
      AND claim_id::text = $2::jsonb -> order_id::text ->> 'claim_id'";

/// The index gives the rows in id order: they are locked in it.
pub(super) const COMPLETE: &str = "
    WITH completed AS (
        UPDATE orders SET status = 'completed', completed_at = $2
        WHERE id = ANY($1) AND status::text = 'success' RETURNING 1),
    counters AS (
        INSERT INTO order_counters (completed)
        SELECT count(*) FROM completed HAVING count(*) > 0)
    SELECT count(*) FROM completed";

pub(super) const INSERT_FAILED: &str = "
    INSERT INTO process_attempts (order_id, attempt, worker_id, started_at, ended_at, error)
    SELECT ended.id, ended.run, ended.worker, now - ended.took_us * interval '1 microsecond', now,
           ended.error
    FROM (SELECT clock_timestamp() AS now) AS clock,
         unnest($1::uuid[], $2::integer[], $3::uuid[], $4::bigint[], $5::text[])
             AS ended (id, run, worker, took_us, error)
    ON CONFLICT DO NOTHING";

#[async_trait]
impl TaskSteps for PostgresStore {
    async fn claim_due(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let mut connection = self.read().await?;
        let mut rows = self.lease_packed(&mut connection, claim).await?;
        if rows.is_empty() {
            let next = self.unpack(&mut connection, claim).await?;
            rows = self.claim_entries(&mut connection, claim, next).await?;
            if let Some(next) = next.filter(|_| rows.len() < claim.max) {
                self.add_packed(&mut connection, claim, next.0, &mut rows)
                    .await?;
            }
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids = rows.iter().map(|row| row.order_id).collect();
        let orders = read_orders(&mut *connection, ids).await?;
        Ok(claimed(rows, claim.id, orders))
    }

    async fn prepare_claim(&self, topic: Topic, max: usize) -> Result<bool, Error> {
        if topic == Topic::Process {
            let (all, mut connection) = (DueCursor::EVERYTHING, self.read().await?);
            let (delay, nothing_packed) = (Duration::ZERO, 0);
            unpack(&mut connection, all, delay, max, all, nothing_packed).await?;
        }
        Ok(true)
    }
}

impl PostgresStore {
    /// Claims entries that have their turn before the packed tasks that were due at `next`.
    async fn claim_entries(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        next: Option<StoredTime>,
    ) -> Result<Vec<ClaimedRow>, Error> {
        let from = self.due_entries.from();
        let rows = self.claim_from(connection, claim, from, next).await?;
        if rows.is_empty() && from > DueCursor::EVERYTHING {
            return self
                .claim_from(connection, claim, DueCursor::EVERYTHING, next)
                .await;
        }
        Ok(rows)
    }

    async fn claim_from(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        from: DateTime<Utc>,
        next: Option<StoredTime>,
    ) -> Result<Vec<ClaimedRow>, Error> {
        let began = Instant::now();
        let values = [
            Value::Time(from),
            Value::Ago(claim.delay),
            Value::count(claim.max),
            Value::FromNow(claim.lease),
            Value::Id(claim.id),
            Value::Id(claim.worker_id),
            Value::Time(next.map_or(DateTime::<Utc>::MAX_UTC, |next| next.0)),
        ];
        let rows: Vec<DueRow> = connection.fetch_all(CLAIM, &values).await?;
        let last = rows.first().map(|row| row.last.0);
        let has_more = rows.len() >= claim.max || next.is_some();
        self.due_entries.claimed(from, began, last, has_more);
        Ok(rows.into_iter().map(|row| row.claimed).collect())
    }
}

/// A claimed entry, with the last of the times at which those of its claim were due.
#[derive(FromRow)]
struct DueRow {
    #[sqlx(flatten)]
    claimed: ClaimedRow,
    last: StoredTime,
}

/// The ends of attempts as the statements take them, by order.
type Endings = Json<HashMap<Uuid, serde_json::Value>>;

/// The orders of attempts, and how these ended.
pub(super) fn endings<'a>(ended: impl Iterator<Item = &'a AttemptResult>) -> (Vec<Uuid>, Endings) {
    let ending = |ended: &AttemptResult| {
        let (retry_us, reason) = match &ended.outcome {
            AttemptOutcome::Done => (None, None),
            AttemptOutcome::NotBegun => (Some(0), None),
            AttemptOutcome::Retry(delay, _) => (Some(span_micros(*delay)), None),
            AttemptOutcome::Dead(reason) | AttemptOutcome::Exhausted(reason) => {
                (None, Some(storable(reason)))
            }
        };
        let ending = json!({
            "claim_id": ended.lease.claim_id,
            "compensates": ended.kind.compensates(),
            "retry_us": retry_us,
            "reason": reason,
            "done": ended.outcome == AttemptOutcome::Done,
            "not_made": ended.outcome.is_no_attempt(),
            "not_begun": ended.outcome == AttemptOutcome::NotBegun,
        });
        (ended.lease.order_id.0, ending)
    };
    let endings: HashMap<Uuid, serde_json::Value> = ended.map(ending).collect();
    (endings.keys().copied().collect(), Json(endings))
}
