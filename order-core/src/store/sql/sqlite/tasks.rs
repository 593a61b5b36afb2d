//! Tasks: the statements over entries of the topic `process`, and the way they are claimed. Each change
//! takes the write lock at its start, so that what it reads is what it changes. What is due first
//! in `task_batches` is leased as it is packed, or unpacked when it does not fit.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{
    claimed_orders::claimed_orders,
    store::SqliteStore,
    task_batches::{self, DueBatch, room},
    writer::WriteTransaction,
};
use crate::{
    clock::{Clock, SystemClock},
    error::Error,
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskState},
    queue::Topic,
    store::sql::{
        backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
        statements::TaskStatements,
        tasks::{ClaimedRow, TaskSteps, claimed, lease_ran_out, storable},
        value::{StoredTime, Value, after, before, hex},
    },
};

/// Tasks in a state: entries, and those that still lie in a batch.
macro_rules! in_state {
    ($entries:literal, $batches:literal) => {
        concat!(
            "SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason, $3 AS now
             FROM (SELECT * FROM (
                       SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason
                       FROM queue_entries
                       WHERE topic = 'process' AND dead_at IS NULL AND ",
            $entries,
            "          ORDER BY visible_at LIMIT $1)
                   UNION ALL
                   SELECT * FROM (
                       SELECT unhex(value), claim_id IS NOT NULL, 0, due_at, claim_id, NULL, NULL
                       FROM (SELECT order_ids, due_at, claim_id FROM task_batches WHERE ",
            $batches,
            "                ORDER BY due_at LIMIT $1), json_each(order_ids) LIMIT $1))
             ORDER BY visible_at, order_id LIMIT $1"
        )
    };
}

const fn in_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Waiting => in_state!("visible_at <= $2", "due_at <= $2"),
        TaskState::Scheduled => in_state!(
            "visible_at > $2 AND claim_id IS NULL AND runs = 0",
            "due_at > $2 AND claim_id IS NULL"
        ),
        TaskState::InFlight => in_state!(
            "visible_at > $3 AND claim_id IS NOT NULL",
            "due_at > $3 AND claim_id IS NOT NULL"
        ),
        TaskState::Retrying => in_state!(
            "visible_at > $2 AND (claim_id IS NULL AND runs > 0
                 OR claim_id IS NOT NULL AND visible_at <= $3)",
            "due_at > $2 AND due_at <= $3 AND claim_id IS NOT NULL"
        ),
        TaskState::Dead => DEAD,
    }
}

const DEAD: &str = "SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason,
        $3 AS now
     FROM queue_entries WHERE topic = 'process' AND dead_at IS NOT NULL
     ORDER BY dead_at DESC, order_id LIMIT $1";

pub(super) const STATEMENTS: TaskStatements = TaskStatements {
    lock_status: "SELECT status FROM orders WHERE id = $1",
    // Not of an order whose task still lies in a batch: it could not be there sooner.
    insert: "INSERT INTO queue_entries (topic, order_id, visible_at, runs)
         SELECT 'process', $1, $2,
                coalesce((SELECT max(attempt) FROM process_attempts WHERE order_id = $1), 0)
         WHERE NOT EXISTS (
             SELECT 1 FROM orders CROSS JOIN task_batches ON task_batches.id = orders.task_batch
             WHERE orders.id = $1
               AND EXISTS (SELECT 1 FROM json_each(order_ids) WHERE value = lower(hex($1))))
         ON CONFLICT DO NOTHING",
    make_due: "UPDATE queue_entries
         SET attempts = CASE WHEN dead_at IS NULL THEN attempts ELSE 0 END, dead_at = NULL,
             reason = NULL,
             visible_at = CASE WHEN claim_id IS NULL THEN min(visible_at, $2) ELSE visible_at END
         WHERE topic = 'process' AND order_id = $1",
    mark_compensating: "UPDATE queue_entries
         SET compensates = 1, returned = 0, attempts = 0, dead_at = NULL, reason = NULL,
             visible_at = CASE WHEN claim_id IS NULL THEN $2 ELSE visible_at END
         WHERE topic = 'process' AND order_id = $1",
    mark_returned: "UPDATE queue_entries SET returned = 1
         WHERE topic = 'process' AND order_id = $1 AND (runs > 0 OR $2)
           AND (claim_id IS NOT NULL OR NOT compensates)",
    insert_compensation:
        "INSERT INTO queue_entries (topic, order_id, visible_at, runs, compensates)
         SELECT 'process', $1, $2,
                coalesce((SELECT max(attempt) FROM process_attempts WHERE order_id = $1), 0), 1
         WHERE true ON CONFLICT DO NOTHING",
    // An entry, or a task that still lies in a batch.
    task: "SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason, $2 AS now
         FROM queue_entries WHERE topic = 'process' AND order_id = $1
         UNION ALL
         SELECT orders.id, claim_id IS NOT NULL, 0, due_at, claim_id, NULL, NULL, $2
         FROM orders CROSS JOIN task_batches ON task_batches.id = orders.task_batch
         WHERE orders.id = $1
           AND EXISTS (SELECT 1 FROM json_each(order_ids) WHERE value = lower(hex($1)))
         LIMIT 1",
    in_state,
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
        AND (EXISTS (SELECT 1 FROM queue_entries
                     WHERE topic = $1 AND dead_at IS NULL AND visible_at <= $2)
             OR $1 = 'process' AND EXISTS (SELECT 1 FROM task_batches WHERE due_at <= $2))";

/// Those that wait longest first, whether their lease ran out, and since when they are due; none, and
/// not one is read, while the topic is paused.
const DUE_TASKS: &str = "SELECT order_id, claim_id IS NOT NULL, visible_at FROM queue_entries
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
/// its order was cancelled meanwhile, so that it is to be undone, or gave something back, so that it is
/// told so.
pub(super) const DELETE_DONE: &str = "
    DELETE FROM queue_entries WHERE topic = 'process' AND NOT returned AND (order_id, claim_id, compensates) IN
        (SELECT unhex(value ->> 0), unhex(value ->> 1), value ->> 2 FROM json_each($1))";

/// `$1` are attempts: order, claim, whether it undid, when to retry, why it is dead, whether
/// it was not made, whether it was not begun, whether it is done. A task that is not done goes back, or
/// is dead; one that was cancelled meanwhile is due at once, and so is the compensation that follows
/// one that is done when a return came meanwhile.
///
/// `LIMIT` has the attempts put together first, so that each looks up its entry. Without it,
/// the planner sees that all have the same topic, and compares each entry of that topic with
/// each attempt.
pub(super) const PUT_BACK: &str = "
    UPDATE queue_entries
    SET claim_id = NULL,
        compensates = queue_entries.compensates OR (returned AND ended.done),
        returned = returned AND NOT ended.done,
        visible_at = CASE WHEN ended.done THEN $2 WHEN queue_entries.compensates = ended.compensates
            THEN coalesce(ended.retry_at, visible_at) ELSE $2 END,
        dead_at = CASE WHEN queue_entries.compensates = ended.compensates
            AND ended.reason IS NOT NULL THEN $2 END,
        reason = CASE WHEN queue_entries.compensates = ended.compensates THEN ended.reason END,
        attempts = CASE WHEN ended.done THEN 0 ELSE max(0, attempts - ended.not_made) END, runs = runs - ended.not_begun
    FROM (SELECT 'process' AS topic, unhex(value ->> 0) AS id, unhex(value ->> 1) AS claim_id,
                 value ->> 2 AS compensates, value ->> 3 AS retry_at, value ->> 4 AS reason,
                 value ->> 5 AS not_made, value ->> 6 AS not_begun, value ->> 7 AS done
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
    /// Looks before it asks for the write lock: mostly there is nothing. Orders are read after the
    /// commit, which nobody waits for then.
    async fn claim_due(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        if !self.is_any_due(Topic::Process, claim.delay).await? {
            return Ok(Vec::new());
        }
        let mut tx = self.begin(Priority::Tasks, None).await?;
        let rows = claim_rows(&mut tx, claim).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        tx.commit().await?;
        let ids = rows.iter().map(|row| row.order_id).collect();
        let orders = claimed_orders(&mut *self.read().await?, ids).await?;
        Ok(claimed(rows, claim.id, orders))
    }

    /// Without the write lock, too, unless there is something to unpack.
    async fn prepare_claim(&self, topic: Topic, max: usize) -> Result<bool, Error> {
        let is_any_due = self.is_any_due(topic, Duration::ZERO).await?;
        if is_any_due && topic == Topic::Process {
            let mut tx = self.begin(Priority::Background, None).await?;
            let due = task_batches::due(&mut tx, Value::Now, usize::MAX).await?;
            task_batches::unpack(&mut tx, &due, max, 0).await?;
            tx.commit().await?;
        }
        Ok(is_any_due)
    }
}

impl SqliteStore {
    /// Tells whether something has been due for `delay`, without the write lock.
    async fn is_any_due(&self, topic: Topic, delay: Duration) -> Result<bool, Error> {
        let values = [Value::text(topic.as_str()), Value::Ago(delay)];
        let (is_any_due,): (bool,) = self.read().await?.fetch_one(IS_ANY_DUE, &values).await?;
        Ok(is_any_due)
    }
}

/// Claims what is due first: packed tasks, or entries, and then packed ones besides, when there is
/// room.
async fn claim_rows(tx: &mut WriteTransaction, claim: &Claim) -> Result<Vec<ClaimedRow>, Error> {
    let now = SystemClock.now();
    let since = before(now, claim.delay);
    let lease = [now, after(now, claim.lease)].map(Value::Time);
    let batches = task_batches::due(tx, Value::Time(since), room(claim)).await?;
    let first = first_entry(tx, since).await?;
    let leased = task_batches::lease(tx, &batches, first, claim, lease.clone()).await?;
    if !leased.is_empty() {
        return Ok(leased);
    }
    let next = task_batches::unpack(tx, &batches, claim.max, room(claim)).await?;
    let until = next.first().map_or(since, DueBatch::due_at);
    let mut rows = claim_entries(tx, until, claim, lease.clone()).await?;
    if !next.is_empty() && rows.len() < claim.max {
        let first = first_entry(tx, since).await?;
        let rest = claim.after(rows.len());
        let leased = task_batches::lease(tx, next, first, &rest, lease).await?;
        let claimed: HashSet<Uuid> = rows.iter().map(|row| row.order_id).collect();
        let is_new = |row: &ClaimedRow| !claimed.contains(&row.order_id);
        let (new, twice): (Vec<_>, Vec<_>) = leased.into_iter().partition(is_new);
        if !twice.is_empty() {
            let twice = twice.into_iter().map(|row| hex(row.order_id)).collect();
            task_batches::take_out(tx, vec![claim.id], &twice, &HashSet::new()).await?;
        }
        rows.extend(new);
    }
    Ok(rows)
}

type DueEntry = (Uuid, bool, StoredTime);

async fn due_entries(
    tx: &mut WriteTransaction,
    until: DateTime<Utc>,
    max: usize,
) -> Result<Vec<DueEntry>, Error> {
    let values = [Value::Time(until), Value::count(max)];
    tx.fetch_all(DUE_TASKS, &values).await
}

/// Since when the entry is due that has its turn first.
async fn first_entry(
    tx: &mut WriteTransaction,
    until: DateTime<Utc>,
) -> Result<Option<StoredTime>, Error> {
    let first = due_entries(tx, until, 1).await?.pop();
    Ok(first.map(|(.., visible_at)| visible_at))
}

async fn claim_entries(
    tx: &mut WriteTransaction,
    until: DateTime<Utc>,
    claim: &Claim,
    [now, end]: [Value<'_>; 2],
) -> Result<Vec<ClaimedRow>, Error> {
    let due = due_entries(tx, until, claim.max.min(MOST_CLAIMED)).await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let has_lapsed = due.iter().any(|(_, has_lapsed, _)| *has_lapsed);
    let due = Value::Ids(due.into_iter().map(|(id, ..)| id).collect());
    if has_lapsed {
        tx.execute(INSERT_LAPSED, std::slice::from_ref(&due))
            .await?;
    }
    let values = [
        due,
        end,
        Value::Id(claim.id),
        Value::Id(claim.worker_id),
        now,
    ];
    tx.fetch_all(CLAIM, &values).await
}

/// An attempt as the statements take it.
pub(super) fn ending(ended: &AttemptResult, now: DateTime<Utc>) -> serde_json::Value {
    let (retry_at, reason) = match &ended.outcome {
        AttemptOutcome::Done => (None, None),
        AttemptOutcome::NotBegun => (Some(now.timestamp_micros()), None),
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
        i32::from(ended.outcome.is_no_attempt()),
        i32::from(ended.outcome == AttemptOutcome::NotBegun),
        i32::from(ended.outcome == AttemptOutcome::Done),
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
