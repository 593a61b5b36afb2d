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
    process::{Attempt, Claim, Claimed, Ended, Ending, TaskHistory, TaskStatus, TaskStore},
    store::{
        error::on_commit,
        retry::with_retry,
        rows::Micros,
        task_rows::{
            self, Asked, ClaimedRow, claimed, lease_ran_out, select_attempts, select_task, storable,
        },
    },
};

type TaskRow = task_rows::TaskRow<Micros>;
type AttemptRow = task_rows::AttemptRow<Micros>;

/// Rows of the entries that are due at `?1`.
macro_rules! due {
    ($select:literal, $rest:literal) => {
        concat!(
            $select,
            " FROM queue_entries
             WHERE topic = 'process' AND dead_at IS NULL AND visible_at <= ?1
               AND NOT EXISTS (SELECT 1 FROM queue_pauses WHERE topic = 'process') ",
            $rest
        )
    };
}

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

/// `?1` are attempts: order, claim, whether it undid, when to retry, why it is dead, whether
/// it was not made. What is done leaves the queue, unless it was cancelled meanwhile, so that
/// it is to be undone.
const DONE: &str = "
    DELETE FROM queue_entries WHERE topic = 'process' AND (order_id, claim_id, compensates) IN
        (SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each(?1)
         WHERE value ->> 6)";

/// What is not done goes back, or is dead; what was cancelled meanwhile is due at once.
const NOT_DONE: &str = "
    UPDATE queue_entries
    SET claim_id = NULL,
        visible_at = CASE WHEN queue_entries.compensates = ended.compensates
            THEN coalesce(ended.retry_at, visible_at) ELSE ?2 END,
        dead_at = CASE WHEN queue_entries.compensates = ended.compensates
            AND ended.reason IS NOT NULL THEN ?2 END,
        reason = CASE WHEN queue_entries.compensates = ended.compensates THEN ended.reason END,
        attempts = max(0, attempts - ended.not_made)
    FROM (SELECT unhex(value ->> 0) AS id, unhex(value ->> 1) AS claim_id,
                 value ->> 2 AS compensates, value ->> 3 AS retry_at, value ->> 4 AS reason,
                 value ->> 5 AS not_made
          FROM json_each(?1)) AS ended
    WHERE topic = 'process' AND order_id = ended.id AND queue_entries.claim_id = ended.claim_id";

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
        let is_due: bool = sqlx::query_scalar(due!("SELECT EXISTS (SELECT 1", ")"))
            .bind(Micros::now().before(claim.delay))
            .fetch_one(&self.readers)
            .await?;
        if !is_due {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let now = Micros::now();
        let due: Vec<Uuid> = sqlx::query_scalar(due!(
            "SELECT order_id",
            "ORDER BY visible_at, order_id LIMIT ?2"
        ))
        .bind(now.before(claim.delay))
        .bind(i64::try_from(claim.max).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
        let due = json_ids(due);
        let lapsed = sqlx::query(KEEP_LAPSED).bind(&due);
        lapsed.execute(&mut *tx).await?;
        let rows: Vec<ClaimedRow> = sqlx::query_as(CLAIM)
            .bind(due)
            .bind(now.after(claim.lease))
            .bind(claim.id)
            .bind(claim.worker_id)
            .bind(now)
            .fetch_all(&mut *tx)
            .await?;
        let orders = load(&mut tx, rows.iter().map(|row| row.order_id).collect()).await?;
        tx.commit().await.map_err(on_commit)?;
        Ok(claimed(rows, claim.id, orders))
    }

    async fn end_tasks(&self, ended: &[Ended], at: DateTime<Utc>) -> Result<u64, Error> {
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
    async fn end_tasks_once(&self, ended: &[Ended], at: DateTime<Utc>) -> Result<u64, Error> {
        let mut tx = self.begin().await?;
        let sold = ended
            .iter()
            .filter(|ended| ended.ending == Ending::Done && !ended.kind.compensates())
            .map(|ended| ended.lease.order_id.0);
        let completed = sqlx::query(COMPLETE)
            .bind(json_ids(sold))
            .bind(Micros::from(at))
            .execute(&mut *tx)
            .await?
            .rows_affected();
        let now = Micros::now();
        let endings = Json(ended.iter().map(|e| ending(e, now)).collect::<Vec<_>>());
        let done = sqlx::query(DONE).bind(&endings);
        done.execute(&mut *tx).await?;
        let not_done = sqlx::query(NOT_DONE).bind(endings).bind(now);
        not_done.execute(&mut *tx).await?;
        let failed: Vec<_> = ended.iter().filter_map(|e| failure(e, now)).collect();
        let kept = sqlx::query(KEEP_ATTEMPTS).bind(Json(failed));
        kept.execute(&mut *tx).await?;
        tx.commit().await.map_err(on_commit)?;
        Ok(completed)
    }

    async fn put_task_once(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        let mut tx = self.begin().await?;
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
        tx.commit().await.map_err(on_commit)?;
        let status = OrderStatus::Cancelled;
        task.ok_or(Error::OrderState { status }).map(Some)
    }
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
fn ending(ended: &Ended, now: Micros) -> serde_json::Value {
    let (retry_at, reason) = match &ended.ending {
        Ending::Done => (None, None),
        Ending::Retry(delay, _) => (Some(now.after(*delay)), None),
        Ending::Dead(reason) | Ending::Exhausted(reason) => (None, Some(storable(reason))),
    };
    json!([
        hex(ended.lease.order_id.0),
        hex(ended.lease.claim_id),
        i32::from(ended.kind.compensates()),
        retry_at,
        reason,
        i32::from(matches!(ended.ending, Ending::Exhausted(_))),
        i32::from(ended.ending == Ending::Done),
    ])
}

/// A failed attempt as it is kept.
fn failure(ended: &Ended, now: Micros) -> Option<serde_json::Value> {
    Some(json!([
        hex(ended.lease.order_id.0),
        ended.run,
        hex(ended.worker_id),
        now.before(ended.took),
        now,
        storable(ended.error()?),
    ]))
}
