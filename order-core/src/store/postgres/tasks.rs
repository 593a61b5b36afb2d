//! Tasks: entries of the topic `process`.
//!
//! A claim locks entries only, skipping what others hold, and so waits for nobody; what is due in
//! `task_batches` before them is unpacked first. Whoever writes how tasks ended locks their
//! orders first, in id order, then their entries: the lock order. Attempts are kept last, when no
//! entry is waited for any more.

use std::{collections::HashMap, time::Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{PostgresStore, due::Due, read::load, task_batches::take_out};
use crate::{
    domain::{Order, OrderId},
    error::Error,
    process::{
        Attempt, AttemptOutcome, AttemptResult, Claim, Claimed, TaskHistory, TaskStatus, TaskStore,
    },
    store::{
        error::{on_commit, waits_for_row},
        retry::{Retry, with_retry},
        rows::span_micros,
        task_rows::{
            self, Asked, ClaimedRow, claimed, lease_ran_out, select_attempts, select_task, storable,
        },
    },
};

type TaskRow = task_rows::TaskRow<DateTime<Utc>>;
type AttemptRow = task_rows::AttemptRow<DateTime<Utc>>;

/// The order of the rows is one that only the index of what is due has. The clock is asked once:
/// what it says is the end of a range in that index, and where the leases begin.
const CLAIM: &str = concat!(
    "WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now),
     due AS MATERIALIZED (
         SELECT order_id, runs, visible_at, claim_id, worker_id, claimed_at FROM queue_entries
         WHERE topic = 'process' AND dead_at IS NULL
           AND visible_at
               BETWEEN $1 AND (SELECT now - $2::bigint * interval '1 microsecond' FROM clock)
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

/// What is done leaves the queue, unless it was cancelled meanwhile, so that it is to be undone.
const DONE: &str = "DELETE FROM queue_entries
     WHERE topic = 'process' AND order_id = ANY($1)
       AND claim_id::text = $2::jsonb -> order_id::text ->> 'claim_id'
       AND compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean";

/// What is not done goes back, or is dead; what was cancelled meanwhile is due at once.
const NOT_DONE: &str = "
    UPDATE queue_entries
    SET claim_id = NULL,
        visible_at = CASE WHEN compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean
            THEN coalesce(clock_timestamp() + ($2::jsonb -> order_id::text ->> 'retry_us')::bigint
                              * interval '1 microsecond', visible_at)
            ELSE clock_timestamp() END,
        dead_at = CASE WHEN compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean
            AND $2::jsonb -> order_id::text ->> 'reason' IS NOT NULL
            THEN clock_timestamp() END,
        reason = CASE WHEN compensates = ($2::jsonb -> order_id::text -> 'compensates')::boolean
            THEN $2::jsonb -> order_id::text ->> 'reason' END,
        attempts = attempts - CASE WHEN attempts > 0
            AND ($2::jsonb -> order_id::text -> 'not_made')::boolean THEN 1 ELSE 0 END
    WHERE topic = 'process' AND order_id = ANY($1)
      AND claim_id::text = $2::jsonb -> order_id::text ->> 'claim_id'";

/// The index gives the rows in id order: they are locked in it.
const COMPLETE: &str = "
    WITH completed AS (
        UPDATE orders SET status = 'completed', completed_at = $2
        WHERE id = ANY($1) AND status::text = 'success' RETURNING 1),
    tallied AS (
        INSERT INTO order_tallies (completed)
        SELECT count(*) FROM completed HAVING count(*) > 0)
    SELECT count(*) FROM completed";

const KEEP_ATTEMPTS: &str = "
    INSERT INTO process_attempts (order_id, attempt, worker_id, started_at, ended_at, error)
    SELECT ended.id, ended.run, ended.worker, now - ended.took_us * interval '1 microsecond', now,
           ended.error
    FROM (SELECT clock_timestamp() AS now) AS clock,
         unnest($1::uuid[], $2::integer[], $3::uuid[], $4::bigint[], $5::text[])
             AS ended (id, run, worker, took_us, error)
    ON CONFLICT DO NOTHING";

/// Not of an order whose task is still packed: it could not be there sooner.
const PUT: &str = "
    INSERT INTO queue_entries (topic, order_id, visible_at, runs)
    SELECT 'process', $1, clock_timestamp(),
           coalesce((SELECT max(attempt) FROM process_attempts WHERE order_id = $1), 0)
    WHERE NOT EXISTS (SELECT FROM orders,
                          LATERAL (SELECT order_ids FROM task_batches
                                   WHERE sold_at = orders.decided_at OFFSET 0) packed
                      WHERE orders.id = $1 AND $1 = ANY(order_ids))
    ON CONFLICT (topic, order_id) DO NOTHING";

/// An entry, or a task that is still packed: one snapshot has it in one of the two places.
const TASK: &str = concat!(
    select_task!(
        "clock_timestamp()",
        "WHERE topic = 'process' AND order_id = $1"
    ),
    " UNION ALL
     SELECT orders.id, 0, false, due_at, NULL, NULL, NULL, clock_timestamp()
     FROM orders, LATERAL (SELECT due_at, order_ids FROM task_batches
                           WHERE sold_at = orders.decided_at OFFSET 0) packed
     WHERE orders.id = $1 AND $1 = ANY(order_ids) LIMIT 1"
);

/// What is dead or delayed is due; what is under a lease keeps it.
const HURRY: &str = "
    UPDATE queue_entries
    SET attempts = CASE WHEN dead_at IS NULL THEN attempts ELSE 0 END, dead_at = NULL,
        reason = NULL,
        visible_at = CASE WHEN claim_id IS NULL THEN least(visible_at, clock_timestamp())
                          ELSE visible_at END
    WHERE topic = 'process' AND order_id = $1";

#[async_trait]
impl TaskStore for PostgresStore {
    /// Made once: a claim whose answer is lost would not be found again. Its lease runs out.
    async fn claim_tasks(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        self.connections.attempt(self.claim_tasks_once(claim)).await
    }

    async fn end_tasks(&self, ended: &[AttemptResult], at: DateTime<Utc>) -> Result<u64, Error> {
        let mut retry = Retry::told_of_rows();
        let completed = with_retry!(
            retry,
            self.connections.attempt(self.end_tasks_once(ended, at))
        );
        completed.map_err(|error| {
            if waits_for_row(&error) {
                Error::Locked
            } else {
                error
            }
        })
    }

    async fn put_task(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        with_retry!(_retry => self.connections.attempt(self.put_task_once(id)))
    }

    async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        with_retry!(_retry => self.connections.attempt(self.task_history_once(id)))
    }
}

impl PostgresStore {
    async fn claim_tasks_once(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let mut connection = self.connections.acquire().await?;
        self.unpack(&mut connection, claim).await?;
        let rows = self.claim_entries(&mut connection, claim).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids = rows.iter().map(|row| row.order_id).collect();
        let orders = load(&mut connection, ids).await?;
        Ok(claimed(rows, claim.id, orders))
    }

    async fn claim_entries(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
    ) -> Result<Vec<ClaimedRow>, Error> {
        let from = self.due.from();
        let rows = self.claim_due(connection, claim, from).await?;
        if rows.is_empty() && from > Due::EVERYTHING {
            return self.claim_due(connection, claim, Due::EVERYTHING).await;
        }
        Ok(rows)
    }

    async fn claim_due(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        from: DateTime<Utc>,
    ) -> Result<Vec<ClaimedRow>, Error> {
        let began = Instant::now();
        let rows: Vec<DueRow> = sqlx::query_as(CLAIM)
            .bind(from)
            .bind(span_micros(claim.delay))
            .bind(i64::try_from(claim.max).unwrap_or(i64::MAX))
            .bind(span_micros(claim.lease))
            .bind(claim.id)
            .bind(claim.worker_id)
            .fetch_all(connection)
            .await?;
        let last = rows.first().map(|row| row.last);
        self.due.claimed(from, began, last, rows.len() >= claim.max);
        Ok(rows.into_iter().map(|row| row.claimed).collect())
    }

    async fn end_tasks_once(
        &self,
        ended: &[AttemptResult],
        at: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
        let done = |ended: &&AttemptResult| ended.outcome == AttemptOutcome::Done;
        let ids = |ended: &AttemptResult| ended.lease.order_id.0;
        let sold: Vec<Uuid> = ended
            .iter()
            .filter(done)
            .filter(|ended| !ended.kind.compensates())
            .map(ids)
            .collect();
        let mut completed = 0;
        if !sold.is_empty() {
            let query = sqlx::query_scalar::<_, i64>(COMPLETE).bind(sold).bind(at);
            completed = query.fetch_one(&mut *tx).await?.unsigned_abs();
        }
        let endings = endings(ended);
        let left = leave(
            &mut tx,
            ended.iter().filter(done).map(ids).collect(),
            &endings,
        )
        .await?;
        if left < ended.len() as u64 {
            let all: Vec<Uuid> = ended.iter().map(ids).collect();
            sqlx::query(NOT_DONE)
                .bind(all)
                .bind(endings)
                .execute(&mut *tx)
                .await?;
        }
        keep_attempts(&mut tx, ended).await?;
        tx.commit().await.map_err(on_commit)?;
        Ok(completed)
    }

    async fn put_task_once(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
        let status: Option<String> =
            sqlx::query_scalar("SELECT status::text FROM orders WHERE id = $1 FOR NO KEY UPDATE")
                .bind(id.0)
                .fetch_optional(&mut *tx)
                .await?;
        let Some(status) = status else {
            return Ok(None);
        };
        let steps: &[&'static str] = match Asked::of(&status)? {
            Asked::Sold => &[PUT, HURRY],
            Asked::Cancelled => &[HURRY],
        };
        for step in steps {
            sqlx::query(*step).bind(id.0).execute(&mut *tx).await?;
        }
        let task = task(&mut tx, id).await?;
        tx.commit().await.map_err(on_commit)?;
        let cancelled = Error::OrderState {
            status: crate::domain::OrderStatus::Cancelled,
        };
        task.ok_or(cancelled).map(Some)
    }

    async fn task_history_once(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        let mut connection = self.connections.acquire().await?;
        let found: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM orders WHERE id = $1)")
            .bind(id.0)
            .fetch_one(&mut *connection)
            .await?;
        if !found {
            return Ok(None);
        }
        let rows: Vec<AttemptRow> =
            sqlx::query_as(select_attempts!("WHERE order_id = $1 ORDER BY attempt"))
                .bind(id.0)
                .fetch_all(&mut *connection)
                .await?;
        let attempts: Result<Vec<Attempt>, Error> =
            rows.into_iter().map(Attempt::try_from).collect();
        Ok(Some(TaskHistory {
            attempts: attempts?,
            task: task(&mut connection, id).await?,
        }))
    }
}

/// A claimed entry, with the last of the times at which those of its claim were due.
#[derive(sqlx::FromRow)]
struct DueRow {
    #[sqlx(flatten)]
    claimed: ClaimedRow,
    last: DateTime<Utc>,
}

/// Turns the task of an order that is being cancelled, whose row is locked: one that nobody
/// claimed goes; of any other, what was done is to be undone. An attempt that is under way keeps
/// its lease. Packed ones first: one that is unpacked meanwhile is an entry by then.
pub(super) async fn cancel_task(connection: &mut PgConnection, order: &Order) -> Result<(), Error> {
    const GO: &str = "DELETE FROM queue_entries
         WHERE topic = 'process' AND order_id = $1 AND runs = 0";
    const TURN: &str = "UPDATE queue_entries
         SET compensates = true, attempts = 0, dead_at = NULL, reason = NULL,
             visible_at = CASE WHEN claim_id IS NULL THEN clock_timestamp() ELSE visible_at END
         WHERE topic = 'process' AND order_id = $1";
    let id = order.id;
    take_out(connection, id, order.decided_at).await?;
    sqlx::query(GO).bind(id.0).execute(&mut *connection).await?;
    sqlx::query(TURN).bind(id.0).execute(connection).await?;
    Ok(())
}

async fn task(connection: &mut PgConnection, id: OrderId) -> Result<Option<TaskStatus>, Error> {
    let query = sqlx::query_as(TASK).bind(id.0);
    let row: Option<TaskRow> = query.fetch_optional(connection).await?;
    row.map(TaskRow::status).transpose()
}

/// Takes what is done off the queue; how many those were.
async fn leave(
    connection: &mut PgConnection,
    done: Vec<Uuid>,
    endings: &Endings,
) -> Result<u64, Error> {
    if done.is_empty() {
        return Ok(0);
    }
    let query = sqlx::query(DONE).bind(done).bind(endings);
    Ok(query.execute(connection).await?.rows_affected())
}

/// What the statements want to know of each attempt, by order.
type Endings = Json<HashMap<Uuid, serde_json::Value>>;

fn endings(ended: &[AttemptResult]) -> Endings {
    let ending = |ended: &AttemptResult| {
        let (retry_us, reason) = match &ended.outcome {
            AttemptOutcome::Done => (None, None),
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
            "not_made": matches!(ended.outcome, AttemptOutcome::Exhausted(_)),
        });
        (ended.lease.order_id.0, ending)
    };
    Json(ended.iter().map(ending).collect())
}

async fn keep_attempts(
    connection: &mut PgConnection,
    ended: &[AttemptResult],
) -> Result<(), Error> {
    let failed: Vec<(&AttemptResult, &str)> = ended
        .iter()
        .filter_map(|ended| Some((ended, ended.error()?)))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let runs = failed
        .iter()
        .map(|(ended, _)| i32::try_from(ended.run).unwrap_or(i32::MAX));
    let orders = failed.iter().map(|(ended, _)| ended.lease.order_id.0);
    let took = failed.iter().map(|(ended, _)| span_micros(ended.took));
    let errors = failed.iter().map(|(_, error)| storable(error));
    sqlx::query(KEEP_ATTEMPTS)
        .bind(orders.collect::<Vec<Uuid>>())
        .bind(runs.collect::<Vec<i32>>())
        .bind(failed.iter().map(|(e, _)| e.worker_id).collect::<Vec<_>>())
        .bind(took.collect::<Vec<i64>>())
        .bind(errors.collect::<Vec<String>>())
        .execute(connection)
        .await?;
    Ok(())
}
