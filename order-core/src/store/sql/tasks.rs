//! Tasks: entries of the topic `process`.
//!
//! A transaction that ends tasks locks their orders first, in id order, then their entries: the
//! lock order. Failed attempts are kept last, when no entry is waited for any more.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    audit::record,
    backend::{LockFailure, Priority, SqlBackend, SqlConnection, SqlTransaction},
    queue_counts::queue_stats,
    retry::{Retry, reading, with_retry},
    value::{StoredTime, Value, span_micros},
};
use crate::{
    audit::AuditChange,
    domain::{Order, OrderId, OrderStatus},
    error::Error,
    process::{
        Attempt, AttemptOutcome, AttemptResult, Claim, Claimed, TaskHistory, TaskKind, TaskQuery,
        TaskState, TaskStatus, TaskStore,
    },
    queue::{Lease, QueueStats, Topic},
};

/// The way in which a database claims tasks.
#[async_trait]
pub(crate) trait TaskSteps: SqlBackend {
    /// Claims tasks that are due.
    async fn claim_due(&self, claim: &Claim) -> Result<Vec<Claimed>, Error>;

    /// Tells whether there may be up to `max` entries of a topic to claim, and makes entries of what
    /// is not one yet.
    async fn prepare_claim(&self, topic: Topic, max: usize) -> Result<bool, Error>;
}

const DELETE_UNCLAIMED: &str = "DELETE FROM queue_entries
     WHERE topic = 'process' AND order_id = $1 AND runs = 0";

const HAS_ORDER: &str = "SELECT EXISTS (SELECT 1 FROM orders WHERE id = $1)";

const ATTEMPTS: &str = "SELECT attempt, started_at, ended_at, error, worker_id
     FROM process_attempts WHERE order_id = $1 ORDER BY attempt";

#[async_trait]
impl<B: TaskSteps> TaskStore for B {
    /// Made once: a claim whose answer is lost would not be found again. Its lease runs out.
    async fn claim_tasks(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        self.attempt(self.claim_due(claim)).await
    }

    async fn end_tasks(&self, ended: &[AttemptResult], at: DateTime<Utc>) -> Result<u64, Error> {
        let (mut completed, mut left) = (0, ended);
        while !left.is_empty() {
            let mut retry = Retry::reporting(|failure| failure != LockFailure::Other);
            let written = retry.run(self, |_| end_tasks(self, left, at)).await;
            let written = written.map_err(|error| match Self::lock_failure(&error) {
                Some(LockFailure::Key | LockFailure::Row) => Error::Locked,
                _ => error,
            })?;
            completed += written.completed;
            left = &left[written.ended..];
        }
        Ok(completed)
    }

    async fn put_task(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        with_retry(self, |_| put_task(self, id)).await
    }

    async fn task_stats(&self, delay: Duration) -> Result<QueueStats, Error> {
        queue_stats(self, Topic::Process, delay).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskStatus>, Error> {
        reading(self, || tasks(self, query)).await
    }

    async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        reading(self, || task_history(self, id)).await
    }
}

/// What a transaction that ended attempts did.
pub(super) struct Ended {
    /// How many of the attempts it ended, from the first on.
    pub(super) ended: usize,
    /// How many orders it completed.
    pub(super) completed: u64,
}

/// Ends attempts, as many of the first as a transaction may end when it has its turn. Executes no
/// statement that is not needed: mostly, all went well.
pub(super) async fn end_tasks<B: SqlBackend>(
    backend: &B,
    ended: &[AttemptResult],
    at: DateTime<Utc>,
) -> Result<Ended, Error> {
    let mut tx = backend.begin(Priority::Tasks, None).await?;
    let ended = &ended[..ended.len().min(tx.most_ended())];
    let is_done = |ended: &&AttemptResult| ended.outcome == AttemptOutcome::Done;
    let done: Vec<&AttemptResult> = ended.iter().filter(is_done).collect();
    let sold = done.iter().filter(|ended| !ended.kind.compensates());
    let sold: Vec<Uuid> = sold.map(|ended| ended.lease.order_id.0).collect();
    let failed: Vec<&AttemptResult> = ended.iter().filter(|e| e.error().is_some()).collect();
    let (mut completed, mut gone) = (0, 0);
    if !sold.is_empty() {
        completed = tx.complete_orders(sold, at).await?;
    }
    if ended.iter().any(AttemptResult::may_be_packed) {
        gone = tx.end_packed(ended).await?;
    }
    if gone < done.len() as u64 {
        gone += tx.delete_done(&done).await?;
    }
    // What was done and is still there was cancelled meanwhile, or is another's.
    if gone < ended.len() as u64 {
        tx.put_back(ended).await?;
    }
    if !failed.is_empty() {
        tx.insert_failed(&failed).await?;
    }
    tx.commit().await?;
    Ok(Ended {
        ended: ended.len(),
        completed,
    })
}

async fn put_task<B: SqlBackend>(backend: &B, id: OrderId) -> Result<Option<TaskStatus>, Error> {
    let statements = B::SQL.tasks;
    let values = [Value::Id(id.0), Value::Now];
    let mut tx = backend.begin(Priority::Request, None).await?;
    let status: Option<(String,)> = tx
        .fetch_optional(statements.lock_status, &values[..1])
        .await?;
    let Some((status,)) = status else {
        return Ok(None);
    };
    match status.parse().map_err(Error::corrupt)? {
        OrderStatus::Success | OrderStatus::Completed => {
            tx.execute(statements.insert, &values).await?;
        }
        // What is there is a compensation; without one, there is nothing to do.
        OrderStatus::Cancelled => {}
        status @ (OrderStatus::Pending
        | OrderStatus::Held
        | OrderStatus::Failed
        | OrderStatus::Expired) => {
            return Err(Error::OrderState { status });
        }
    }
    tx.execute(statements.make_due, &values).await?;
    let task = task(&mut *tx, id).await?;
    if task.is_some() {
        record(&mut *tx, &AuditChange::task_put(id)).await?;
    }
    tx.commit().await?;
    let status = OrderStatus::Cancelled;
    task.ok_or(Error::OrderState { status }).map(Some)
}

async fn task_history<B: SqlBackend>(
    backend: &B,
    id: OrderId,
) -> Result<Option<TaskHistory>, Error> {
    let order = [Value::Id(id.0)];
    let mut connection = backend.read().await?;
    let (is_there,): (bool,) = connection.fetch_one(HAS_ORDER, &order).await?;
    if !is_there {
        return Ok(None);
    }
    let rows: Vec<AttemptRow> = connection.fetch_all(ATTEMPTS, &order).await?;
    Ok(Some(TaskHistory {
        attempts: rows.into_iter().map(Attempt::from).collect(),
        task: task(&mut *connection, id).await?,
    }))
}

async fn tasks<B: SqlBackend>(backend: &B, query: &TaskQuery) -> Result<Vec<TaskStatus>, Error> {
    let values = [
        Value::count(query.limit),
        Value::Ago(query.delay),
        Value::Now,
    ];
    let statement = (B::SQL.tasks.in_state)(query.state);
    let mut connection = backend.read().await?;
    let rows: Vec<TaskRow> = connection.fetch_all(statement, &values).await?;
    let task = |row: TaskRow| TaskStatus {
        state: query.state,
        ..row.status(query.delay)
    };
    Ok(rows.into_iter().map(task).collect())
}

/// Cancels the task of an order that is being cancelled, whose row is locked: one that nobody
/// claimed goes; of any other, what was done is to be undone.
pub(super) async fn cancel_task<C: SqlConnection>(
    connection: &mut C,
    id: OrderId,
) -> Result<(), Error> {
    let values = [Value::Id(id.0), Value::Now];
    connection.execute(DELETE_UNCLAIMED, &values[..1]).await?;
    connection
        .execute(C::SQL.tasks.mark_compensating, &values)
        .await?;
    Ok(())
}

/// Has it told that part of an order came back, which is locked, with no task in a batch. A task that
/// nobody claimed yet will see for itself. Any other goes on, and is followed by a compensation.
pub(super) async fn tell_of_return<C: SqlConnection>(
    connection: &mut C,
    order: &Order,
) -> Result<(), Error> {
    let statements = C::SQL.tasks;
    let is_completed = order.status == OrderStatus::Completed;
    let task = [Value::Id(order.id.0), Value::Bool(is_completed)];
    connection.execute(statements.mark_returned, &task).await?;
    let insert = match is_completed {
        true => statements.insert_compensation,
        false => statements.insert,
    };
    let values = [Value::Id(order.id.0), Value::Now];
    connection.execute(insert, &values).await.map(drop)
}

async fn task<C: SqlConnection>(
    connection: &mut C,
    id: OrderId,
) -> Result<Option<TaskStatus>, Error> {
    let values = [Value::Id(id.0), Value::Now];
    let row: Option<TaskRow> = connection
        .fetch_optional(C::SQL.tasks.task, &values)
        .await?;
    Ok(row.map(|row| row.status(Duration::ZERO)))
}

/// The error of an attempt whose lease ran out.
macro_rules! lease_ran_out {
    () => {
        "'the lease ran out: the worker ended, hung, or could not tell how the attempt ended'"
    };
}
pub(super) use lease_ran_out;

/// The longest error that is kept, in characters.
const MAX_ERROR_CHARS: usize = 2_000;

/// An error as every database can keep it.
pub(super) fn storable(error: &str) -> String {
    let kept: String = error
        .replace('\0', "�")
        .chars()
        .take(MAX_ERROR_CHARS)
        .collect();
    if kept.is_empty() {
        "failed without a reason".to_owned()
    } else {
        kept
    }
}

#[derive(FromRow)]
pub(super) struct ClaimedRow {
    pub(super) order_id: Uuid,
    attempts: i32,
    runs: i32,
    compensates: bool,
}

impl ClaimedRow {
    /// A task that was claimed with those that it is packed with: for the first time.
    pub(super) const fn packed(order_id: Uuid) -> Self {
        Self {
            order_id,
            attempts: 1,
            runs: 1,
            compensates: false,
        }
    }
}

/// The attempts that may have been at tasks of leased rows: their claims, their orders, and those
/// of these whose tasks are not done and go on as entries.
pub(super) struct PackedEnds {
    pub(super) claims: Vec<Uuid>,
    pub(super) orders: Vec<Uuid>,
    pub(super) go_on: Vec<Uuid>,
}

impl PackedEnds {
    pub(super) fn of(ended: &[AttemptResult]) -> Self {
        let packed = || ended.iter().filter(|ended| ended.may_be_packed());
        let claims: HashSet<Uuid> = packed().map(|ended| ended.lease.claim_id).collect();
        let go_on = packed().filter(|ended| ended.outcome != AttemptOutcome::Done);
        Self {
            claims: claims.into_iter().collect(),
            orders: packed().map(|ended| ended.lease.order_id.0).collect(),
            go_on: go_on.map(|ended| ended.lease.order_id.0).collect(),
        }
    }
}

/// The claims of `rows`, sorted by order, with their orders.
pub(super) fn claimed(rows: Vec<ClaimedRow>, claim_id: Uuid, orders: Vec<Order>) -> Vec<Claimed> {
    let mut orders: HashMap<OrderId, Order> = orders.into_iter().map(|o| (o.id, o)).collect();
    let claimed = rows.into_iter().map(|row| {
        let order_id = OrderId(row.order_id);
        Claimed {
            lease: Lease {
                order_id,
                attempts: row.attempts.unsigned_abs(),
                claim_id,
            },
            kind: TaskKind::of(row.compensates),
            run: row.runs.unsigned_abs(),
            order: orders.remove(&order_id),
        }
    });
    let mut claimed: Vec<Claimed> = claimed.collect();
    claimed.sort_unstable_by_key(|claimed| claimed.lease.order_id);
    claimed
}

#[derive(FromRow)]
struct TaskRow {
    order_id: Uuid,
    attempts: i32,
    compensates: bool,
    visible_at: StoredTime,
    claim_id: Option<Uuid>,
    dead_at: Option<StoredTime>,
    reason: Option<String>,
    now: StoredTime,
}

impl TaskRow {
    /// The task as it stands now: what waits, and what is under a lease, is a matter of the time.
    /// It may be claimed once it has been due for `delay`.
    fn status(self, delay: Duration) -> TaskStatus {
        let (now, visible_at) = (self.now.0, self.visible_at.0);
        let dead_at = self.dead_at.map(|at| at.0);
        let state = match (dead_at, self.claim_id) {
            (Some(_), _) => TaskState::Dead,
            _ if visible_at <= now => TaskState::Waiting,
            (None, Some(_)) => TaskState::InFlight,
            (None, None) if self.attempts > 0 => TaskState::Retrying,
            (None, None) => TaskState::Scheduled,
        };
        let at = match state {
            TaskState::InFlight => visible_at,
            _ => dead_at.unwrap_or(visible_at + TimeDelta::microseconds(span_micros(delay))),
        };
        TaskStatus {
            order_id: OrderId(self.order_id),
            kind: TaskKind::of(self.compensates),
            state,
            attempts: self.attempts.unsigned_abs(),
            at,
            reason: self.reason,
        }
    }
}

#[derive(FromRow)]
pub(super) struct AttemptRow {
    attempt: i32,
    started_at: StoredTime,
    ended_at: StoredTime,
    error: String,
    worker_id: Option<Uuid>,
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            attempt: row.attempt.unsigned_abs(),
            started_at: row.started_at.0,
            ended_at: row.ended_at.0,
            error: row.error,
            worker_id: row.worker_id,
        }
    }
}
