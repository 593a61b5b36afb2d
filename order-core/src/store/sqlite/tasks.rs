//! Tasks: entries of the topic `process`. Each change takes the write lock at its start, so
//! that what it reads is what it changes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{SqliteConnection, types::Json};
use uuid::Uuid;

use super::{SqliteStore, hex, json_ids, read::load};
use crate::{
    domain::{OrderId, OrderStatus},
    error::Error,
    process::{
        Attempt, AttemptOutcome, AttemptResult, Claim, Claimed, TaskHistory, TaskStatus, TaskStore,
    },
    store::{
        retry::with_retry,
        rows::Micros,
        task_rows::{
            self, Asked, ClaimedRow, claimed, lease_ran_out, select_attempts, select_task, storable,
        },
    },
};

type TaskRow = task_rows::TaskRow<Micros>;
type AttemptRow = task_rows::AttemptRow<Micros>;

/// Up to `$limit` entries that are due at `?1`, those that wait longest first; none, and not one
/// is looked at, while the topic is paused.
macro_rules! due {
    ($select:literal, $limit:literal) => {
        concat!(
            $select,
            " FROM queue_entries
             WHERE topic = 'process' AND dead_at IS NULL AND visible_at <= ?1
             ORDER BY visible_at, order_id
             LIMIT CASE WHEN EXISTS (SELECT 1 FROM queue_pauses WHERE topic = 'process')
                        THEN 0 ELSE ",
            $limit,
            " END"
        )
    };
}

/// The most tasks that one transaction claims, however many may run at once: whoever buys waits
/// for it.
const MOST_CLAIMED: usize = 256;

const KEEP_LAPSED: &str = concat!(
    "INSERT INTO process_attempts (order_id, attempt, worker_id, started_at, ended_at, error)
     SELECT order_id, runs, worker_id, coalesce(claimed_at, visible_at), visible_at, ",
    lease_ran_out!(),
    " FROM queue_entries
     WHERE topic = 'process' AND order_id IN (SELECT unhex(value) FROM json_each(?1))
       AND claim_id IS NOT NULL ON CONFLICT DO NOTHING"
);

const CLAIM: &str = "
    UPDATE queue_entries
    SET attempts = attempts + 1, runs = runs + 1, visible_at = ?2, claim_id = ?3,
        worker_id = ?4, claimed_at = ?5
    WHERE topic = 'process' AND order_id IN (SELECT unhex(value) FROM json_each(?1))
    RETURNING order_id, attempts, runs, compensates";

const COMPLETE: &str = "UPDATE orders SET status = 'completed', completed_at = ?2
     WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND status = 'success'";

/// `?1` are attempts: order, claim, whether it undid. What is done leaves the queue, unless it
/// was cancelled meanwhile, so that it is to be undone.
const DONE: &str = "
    DELETE FROM queue_entries WHERE topic = 'process' AND (order_id, claim_id, compensates) IN
        (SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each(?1))";

/// `?1` are attempts: order, claim, whether it undid, when to retry, why it is dead, whether
/// it was not made. What is not done goes back, or is dead; what was cancelled meanwhile is due
/// at once.
///
/// `LIMIT` has the attempts put together first, so that each looks up its entry. Without it,
/// the planner sees that all have the same topic, and compares each entry of that topic with
/// each attempt.
const NOT_DONE: &str = "
    UPDATE queue_entries
    SET claim_id = NULL,
        visible_at = CASE WHEN queue_entries.compensates = ended.compensates
            THEN coalesce(ended.retry_at, visible_at) ELSE ?2 END,
        dead_at = CASE WHEN queue_entries.compensates = ended.compensates
            AND ended.reason IS NOT NULL THEN ?2 END,
        reason = CASE WHEN queue_entries.compensates = ended.compensates THEN ended.reason END,
        attempts = max(0, attempts - ended.not_made)
    FROM (SELECT 'process' AS topic, unhex(value ->> 0) AS id, unhex(value ->> 1) AS claim_id,
                 value ->> 2 AS compensates, value ->> 3 AS retry_at, value ->> 4 AS reason,
                 value ->> 5 AS not_made
          FROM json_each(?1) LIMIT -1) AS ended
    WHERE queue_entries.topic = ended.topic AND order_id = ended.id
      AND queue_entries.claim_id = ended.claim_id";

const KEEP_ATTEMPTS: &str = "
    INSERT INTO process_attempts (order_id, attempt, worker_id, started_at, ended_at, error)
    SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4,
           value ->> 5
    FROM json_each(?1) WHERE true ON CONFLICT DO NOTHING";

const PUT: &str = "
    INSERT INTO queue_entries (topic, order_id, visible_at, runs)
    VALUES ('process', ?1, ?2,
            coalesce((SELECT max(attempt) FROM process_attempts WHERE order_id = ?1), 0))
    ON CONFLICT DO NOTHING";

/// What is dead or delayed is due; what is under a lease keeps it.
const HURRY: &str = "
    UPDATE queue_entries
    SET attempts = CASE WHEN dead_at IS NULL THEN attempts ELSE 0 END, dead_at = NULL,
        reason = NULL,
        visible_at = CASE WHEN claim_id IS NULL THEN min(visible_at, ?2) ELSE visible_at END
    WHERE topic = 'process' AND order_id = ?1";

#[async_trait]
impl TaskStore for SqliteStore {
    /// Looks before it asks for the write lock: mostly there is nothing.
    async fn claim_tasks(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let due: Option<bool> = sqlx::query_scalar(due!("SELECT true", "1"))
            .bind(Micros::now().before(claim.delay))
            .fetch_optional(&mut *self.readers.acquire().await?)
            .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.writer.begin_for_tasks().await?;
        let now = Micros::now();
        let due: Vec<(Uuid, bool)> =
            sqlx::query_as(due!("SELECT order_id, claim_id IS NOT NULL", "?2"))
                .bind(now.before(claim.delay))
                .bind(i64::try_from(claim.max.min(MOST_CLAIMED)).unwrap_or(i64::MAX))
                .fetch_all(&mut *tx)
                .await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let has_lapsed = due.iter().any(|(_, has_lapsed)| *has_lapsed);
        let due = json_ids(due.into_iter().map(|(id, _)| id));
        if has_lapsed {
            let lapsed = sqlx::query(KEEP_LAPSED).bind(&due);
            lapsed.execute(&mut *tx).await?;
        }
        let rows: Vec<ClaimedRow> = sqlx::query_as(CLAIM)
            .bind(due)
            .bind(now.after(claim.lease))
            .bind(claim.id)
            .bind(claim.worker_id)
            .bind(now)
            .fetch_all(&mut *tx)
            .await?;
        let orders = load(&mut tx, rows.iter().map(|row| row.order_id).collect()).await?;
        tx.commit().await?;
        Ok(claimed(rows, claim.id, orders))
    }

    async fn end_tasks(&self, ended: &[AttemptResult], at: DateTime<Utc>) -> Result<u64, Error> {
        with_retry!(_retry => self.end_tasks_once(ended, at))
    }

    async fn put_task(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        with_retry!(_retry => self.put_task_once(id))
    }

    async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        let mut connection = self.readers.acquire().await?;
        let found: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM orders WHERE id = ?1)")
            .bind(id.0)
            .fetch_one(&mut *connection)
            .await?;
        if !found {
            return Ok(None);
        }
        let rows: Vec<AttemptRow> =
            sqlx::query_as(select_attempts!("WHERE order_id = ?1 ORDER BY attempt"))
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

impl SqliteStore {
    /// Asks for nothing that nobody needs: mostly, all went well.
    async fn end_tasks_once(
        &self,
        ended: &[AttemptResult],
        at: DateTime<Utc>,
    ) -> Result<u64, Error> {
        let mut tx = self.writer.begin_for_tasks().await?;
        let now = Micros::now();
        let (done, not_done): (Vec<&AttemptResult>, Vec<&AttemptResult>) = ended
            .iter()
            .partition(|ended| ended.outcome == AttemptOutcome::Done);
        let completed = complete(&mut tx, &done, at).await?;
        let gone = remove(&mut tx, &done, now).await?;
        // What was done and is still there was cancelled meanwhile, or is another's.
        if !not_done.is_empty() || gone < done.len() as u64 {
            let endings = Json(ended.iter().map(|e| ending(e, now)).collect::<Vec<_>>());
            let put_back = sqlx::query(NOT_DONE).bind(endings).bind(now);
            put_back.execute(&mut *tx).await?;
        }
        let failed: Vec<_> = not_done.iter().filter_map(|e| failure(e, now)).collect();
        if !failed.is_empty() {
            let kept = sqlx::query(KEEP_ATTEMPTS).bind(Json(failed));
            kept.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(completed)
    }

    async fn put_task_once(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        let mut tx = self.writer.begin().await?;
        let status: Option<String> = sqlx::query_scalar("SELECT status FROM orders WHERE id = ?1")
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
            let query = sqlx::query(*step).bind(id.0).bind(Micros::now());
            query.execute(&mut *tx).await?;
        }
        let task = task(&mut tx, id).await?;
        tx.commit().await?;
        let status = OrderStatus::Cancelled;
        task.ok_or(Error::OrderState { status }).map(Some)
    }
}

/// Completes the orders whose tasks are done; how many.
async fn complete(
    connection: &mut SqliteConnection,
    done: &[&AttemptResult],
    at: DateTime<Utc>,
) -> Result<u64, Error> {
    let sold: Vec<Uuid> = done
        .iter()
        .filter(|ended| !ended.kind.compensates())
        .map(|ended| ended.lease.order_id.0)
        .collect();
    if sold.is_empty() {
        return Ok(0);
    }
    let complete = sqlx::query(COMPLETE)
        .bind(json_ids(sold))
        .bind(Micros::from(at));
    Ok(complete.execute(connection).await?.rows_affected())
}

/// Takes what is done off the queue; how many entries.
async fn remove(
    connection: &mut SqliteConnection,
    done: &[&AttemptResult],
    now: Micros,
) -> Result<u64, Error> {
    if done.is_empty() {
        return Ok(0);
    }
    let done: Vec<_> = done.iter().map(|e| ending(e, now)).collect();
    let remove = sqlx::query(DONE).bind(Json(done));
    Ok(remove.execute(connection).await?.rows_affected())
}

/// Turns the task of an order that is being cancelled: one that nobody claimed goes; of any
/// other, what was done is to be undone. An attempt that is under way keeps its lease.
pub(super) async fn cancel_task(
    connection: &mut SqliteConnection,
    id: OrderId,
) -> Result<(), Error> {
    const GO: &str = "DELETE FROM queue_entries
         WHERE topic = 'process' AND order_id = ?1 AND runs = 0";
    const TURN: &str = "UPDATE queue_entries
         SET compensates = 1, attempts = 0, dead_at = NULL, reason = NULL,
             visible_at = CASE WHEN claim_id IS NULL THEN ?2 ELSE visible_at END
         WHERE topic = 'process' AND order_id = ?1";
    sqlx::query(GO).bind(id.0).execute(&mut *connection).await?;
    let turn = sqlx::query(TURN).bind(id.0).bind(Micros::now());
    turn.execute(connection).await?;
    Ok(())
}

async fn task(connection: &mut SqliteConnection, id: OrderId) -> Result<Option<TaskStatus>, Error> {
    const TASK: &str = select_task!("?2", "WHERE topic = 'process' AND order_id = ?1");
    let query = sqlx::query_as(TASK).bind(id.0).bind(Micros::now());
    let row: Option<TaskRow> = query.fetch_optional(connection).await?;
    row.map(TaskRow::status).transpose()
}

/// An attempt as the statements want it.
fn ending(ended: &AttemptResult, now: Micros) -> serde_json::Value {
    let (retry_at, reason) = match &ended.outcome {
        AttemptOutcome::Done => (None, None),
        AttemptOutcome::Retry(delay, _) => (Some(now.after(*delay)), None),
        AttemptOutcome::Dead(reason) | AttemptOutcome::Exhausted(reason) => {
            (None, Some(storable(reason)))
        }
    };
    json!([
        hex(ended.lease.order_id.0),
        hex(ended.lease.claim_id),
        i32::from(ended.kind.compensates()),
        retry_at,
        reason,
        i32::from(matches!(ended.outcome, AttemptOutcome::Exhausted(_))),
    ])
}

/// A failed attempt as it is kept.
fn failure(ended: &AttemptResult, now: Micros) -> Option<serde_json::Value> {
    Some(json!([
        hex(ended.lease.order_id.0),
        ended.run,
        hex(ended.worker_id),
        now.before(ended.took),
        now,
        storable(ended.error()?),
    ]))
}
