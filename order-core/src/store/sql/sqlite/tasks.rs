//! Tasks: the statements over entries of the topic `process`, and the way they are claimed. Each change
//! takes the write lock at its start, so that what it reads is what it changes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::store::SqliteStore;
use crate::{
    clock::{Clock, SystemClock},
    error::Error,
    process::{AttemptOutcome, AttemptResult, Claim, Claimed},
    queue::Topic,
    store::sql::{
        backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
        orders::read_orders,
        statements::TaskStatements,
        tasks::{ClaimedRow, TaskSteps, claimed, lease_ran_out, storable},
        value::{Value, after, before, hex},
    },
};

pub(super) const STATEMENTS: TaskStatements = TaskStatements {
    lock_status: "SELECT status FROM orders WHERE id = $1",
    insert: "INSERT INTO queue_entries (topic, order_id, visible_at, runs)
         VALUES ('process', $1, $2,
                 coalesce((SELECT max(attempt) FROM process_attempts WHERE order_id = $1), 0))
         ON CONFLICT DO NOTHING",
    make_due: "UPDATE queue_entries
         SET attempts = CASE WHEN dead_at IS NULL THEN attempts ELSE 0 END, dead_at = NULL,
             reason = NULL,
             visible_at = CASE WHEN claim_id IS NULL THEN min(visible_at, $2) ELSE visible_at END
         WHERE topic = 'process' AND order_id = $1",
    mark_compensating: "UPDATE queue_entries
         SET compensates = 1, attempts = 0, dead_at = NULL, reason = NULL,
             visible_at = CASE WHEN claim_id IS NULL THEN $2 ELSE visible_at END
         WHERE topic = 'process' AND order_id = $1",
    task: "SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason, $2 AS now
         FROM queue_entries WHERE topic = 'process' AND order_id = $1",
    workers: "SELECT id, host, pid, version, topics, started_at, heartbeat_at, stopped_at,
                sold, failed, processed, in_flight, $1 AS now
         FROM workers ORDER BY id DESC",
    write_heartbeat: &[
        "DELETE FROM workers WHERE heartbeat_at < $11 AND id <> $1",
        "INSERT INTO workers (id, host, pid, version, topics, started_at, heartbeat_at, stopped_at,
                              sold, failed, processed, in_flight)
         VALUES ($1, $2, $3, $4, $5, $12, $12, CASE WHEN $6 THEN $12 END, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE
         SET heartbeat_at = excluded.heartbeat_at, stopped_at = excluded.stopped_at,
             sold = excluded.sold, failed = excluded.failed,
             processed = excluded.processed, in_flight = excluded.in_flight",
    ],
    paused: "SELECT topic FROM queue_pauses ORDER BY topic",
};

const IS_ANY_DUE: &str = "SELECT NOT EXISTS (SELECT 1 FROM queue_pauses WHERE topic = $1)
        AND EXISTS (SELECT 1 FROM queue_entries
                    WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $2)";

/// Those that wait longest first, and whether their lease ran out; none, and not one is read, while the
/// topic is paused.
const DUE_TASKS: &str = "SELECT order_id, claim_id IS NOT NULL FROM queue_entries
     WHERE topic = 'process' AND dead_at IS NULL AND visible_at <= $1
     ORDER BY visible_at, order_id
     LIMIT CASE WHEN EXISTS (SELECT 1 FROM queue_pauses WHERE topic = 'process')
                THEN 0 ELSE $2 END";

/// The most tasks that one transaction claims, however many may run at once: whoever buys waits
/// for it.
const MOST_CLAIMED: usize = 256;

const INSERT_LAPSED: &str = concat!(
    "INSERT INTO process_attempts (order_id, attempt, worker_id, started_at, ended_at, error)
     SELECT order_id, runs, worker_id, coalesce(claimed_at, visible_at), visible_at, ",
    lease_ran_out!(),
    " FROM queue_entries
     WHERE topic = 'process' AND order_id IN (SELECT unhex(value) FROM json_each($1))
       AND claim_id IS NOT NULL ON CONFLICT DO NOTHING"
);

const CLAIM: &str = "
    UPDATE queue_entries
    SET attempts = attempts + 1, runs = runs + 1, visible_at = $2, claim_id = $3,
        worker_id = $4, claimed_at = $5
    WHERE topic = 'process' AND order_id IN (SELECT unhex(value) FROM json_each($1))
    RETURNING order_id, attempts, runs, compensates";

pub(super) const COMPLETE: &str = "UPDATE orders SET status = 'completed', completed_at = $2
     WHERE id IN (SELECT unhex(value) FROM json_each($1)) AND status = 'success'";

/// `$1` are attempts: order, claim, whether it undid. A task that is done leaves the queue, unless
/// its order was cancelled meanwhile, so that it is to be undone.
pub(super) const DELETE_DONE: &str = "
    DELETE FROM queue_entries WHERE topic = 'process' AND (order_id, claim_id, compensates) IN
        (SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($1))";

/// `$1` are attempts: order, claim, whether it undid, when to retry, why it is dead, whether
/// it was not made. A task that is not done goes back, or is dead; one that was cancelled
/// meanwhile is due at once.
///
/// `LIMIT` has the attempts put together first, so that each looks up its entry. Without it,
/// the planner sees that all have the same topic, and compares each entry of that topic with
/// each attempt.
pub(super) const PUT_BACK: &str = "
    UPDATE queue_entries
    SET claim_id = NULL,
        visible_at = CASE WHEN queue_entries.compensates = ended.compensates
            THEN coalesce(ended.retry_at, visible_at) ELSE $2 END,
        dead_at = CASE WHEN queue_entries.compensates = ended.compensates
            AND ended.reason IS NOT NULL THEN $2 END,
        reason = CASE WHEN queue_entries.compensates = ended.compensates THEN ended.reason END,
        attempts = max(0, attempts - ended.not_made)
    FROM (SELECT 'process' AS topic, unhex(value ->> 0) AS id, unhex(value ->> 1) AS claim_id,
                 value ->> 2 AS compensates, value ->> 3 AS retry_at, value ->> 4 AS reason,
                 value ->> 5 AS not_made
          FROM json_each($1) LIMIT -1) AS ended
    WHERE queue_entries.topic = ended.topic AND order_id = ended.id
      AND queue_entries.claim_id = ended.claim_id";

pub(super) const INSERT_FAILED: &str = "
    INSERT INTO process_attempts (order_id, attempt, worker_id, started_at, ended_at, error)
    SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4,
           value ->> 5
    FROM json_each($1) WHERE true ON CONFLICT DO NOTHING";

#[async_trait]
impl TaskSteps for SqliteStore {
    /// Looks before it asks for the write lock: mostly there is nothing.
    async fn claim_due(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let values = [Value::Ago(claim.delay), Value::Int(1)];
        let mut connection = self.read().await?;
        let due: Vec<(Uuid, bool)> = connection.fetch_all(DUE_TASKS, &values).await?;
        drop(connection);
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin(Priority::Tasks, None).await?;
        let now = SystemClock.now();
        let limit = Value::count(claim.max.min(MOST_CLAIMED));
        let values = [Value::Time(before(now, claim.delay)), limit];
        let due: Vec<(Uuid, bool)> = tx.fetch_all(DUE_TASKS, &values).await?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let has_lapsed = due.iter().any(|(_, has_lapsed)| *has_lapsed);
        let due = Value::Ids(due.into_iter().map(|(id, _)| id).collect());
        if has_lapsed {
            tx.execute(INSERT_LAPSED, std::slice::from_ref(&due))
                .await?;
        }
        let values = [
            due,
            Value::Time(after(now, claim.lease)),
            Value::Id(claim.id),
            Value::Id(claim.worker_id),
            Value::Time(now),
        ];
        let rows: Vec<ClaimedRow> = tx.fetch_all(CLAIM, &values).await?;
        let ids = rows.iter().map(|row| row.order_id).collect();
        let orders = read_orders(&mut *tx, ids).await?;
        tx.commit().await?;
        Ok(claimed(rows, claim.id, orders))
    }

    /// Without the write lock, too.
    async fn prepare_claim(&self, topic: Topic, _max: usize) -> Result<bool, Error> {
        let values = [Value::text(topic.as_str()), Value::Now];
        let (is_any_due,): (bool,) = self.read().await?.fetch_one(IS_ANY_DUE, &values).await?;
        Ok(is_any_due)
    }
}

/// An attempt as the statements take it.
pub(super) fn ending(ended: &AttemptResult, now: DateTime<Utc>) -> serde_json::Value {
    let (retry_at, reason) = match &ended.outcome {
        AttemptOutcome::Done => (None, None),
        AttemptOutcome::Retry(delay, _) => (Some(after(now, *delay).timestamp_micros()), None),
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
pub(super) fn failure(ended: &AttemptResult, now: DateTime<Utc>) -> serde_json::Value {
    json!([
        hex(ended.lease.order_id.0),
        ended.run,
        hex(ended.worker_id),
        before(now, ended.took).timestamp_micros(),
        now.timestamp_micros(),
        storable(ended.error().unwrap_or_default()),
    ])
}
