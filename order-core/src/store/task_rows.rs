//! Rows of tasks and of workers, for both databases.

use std::collections::HashMap;

use sqlx::FromRow;
use uuid::Uuid;

use super::rows::StoredTime;
use crate::{
    domain::{Order, OrderId, OrderStatus},
    error::Error,
    heartbeat::{Heartbeat, KnownWorker, WorkerCounts},
    process::{Attempt, Claimed, TaskKind, TaskState, TaskStatus},
    queue::{Lease, Topic},
};

/// What is kept of an attempt whose lease ran out.
macro_rules! lease_ran_out {
    () => {
        "'the lease ran out: the worker ended, hung, or could not tell how the attempt ended'"
    };
}
pub(super) use lease_ran_out;

/// The longest error that is kept, in characters.
const MAX_ERROR_CHARS: usize = 2_000;

/// An error as both databases can keep it.
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

/// The columns of [`TaskRow`], with `$now`; `$rest` begins at `WHERE`.
macro_rules! select_task {
    ($now:literal, $rest:literal) => {
        concat!(
            "SELECT order_id, attempts, compensates, visible_at, claim_id, dead_at, reason, ",
            $now,
            " AS now FROM queue_entries ",
            $rest
        )
    };
}
pub(super) use select_task;

#[derive(FromRow)]
pub(super) struct TaskRow<T> {
    order_id: Uuid,
    attempts: i32,
    compensates: bool,
    visible_at: T,
    claim_id: Option<Uuid>,
    dead_at: Option<T>,
    reason: Option<String>,
    now: T,
}

impl<T: StoredTime> TaskRow<T> {
    /// The task as it stands now: what waits, and what is under a lease, is a matter of the time.
    pub(super) fn status(self) -> Result<TaskStatus, Error> {
        let now = self.now.time()?;
        let visible_at = self.visible_at.time()?;
        let dead_at = self.dead_at.map(StoredTime::time).transpose()?;
        let state = match (dead_at, self.claim_id) {
            (Some(_), _) => TaskState::Dead,
            _ if visible_at <= now => TaskState::Waiting,
            (None, Some(_)) => TaskState::InFlight,
            (None, None) => TaskState::Delayed,
        };
        Ok(TaskStatus {
            order_id: OrderId(self.order_id),
            kind: TaskKind::of(self.compensates),
            state,
            attempts: self.attempts.unsigned_abs(),
            at: dead_at.unwrap_or(visible_at),
            reason: self.reason,
        })
    }
}

/// What may be done when an order's task is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Put it there, if it is not.
    Sold,
    /// What is there is a compensation; without one, there is nothing to do.
    Cancelled,
}

impl Asked {
    /// What the state of an order allows.
    pub(super) fn of(status: &str) -> Result<Self, Error> {
        match status.parse().map_err(Error::corrupt)? {
            OrderStatus::Success | OrderStatus::Completed => Ok(Self::Sold),
            OrderStatus::Cancelled => Ok(Self::Cancelled),
            status @ (OrderStatus::Pending | OrderStatus::Failed) => {
                Err(Error::OrderState { status })
            }
        }
    }
}

/// The columns of [`AttemptRow`]; `$rest` begins at `WHERE`.
macro_rules! select_attempts {
    ($rest:literal) => {
        concat!(
            "SELECT attempt, started_at, ended_at, error, worker_id FROM process_attempts ",
            $rest
        )
    };
}
pub(super) use select_attempts;

#[derive(FromRow)]
pub(super) struct AttemptRow<T> {
    attempt: i32,
    started_at: T,
    ended_at: T,
    error: String,
    worker_id: Option<Uuid>,
}

impl<T: StoredTime> TryFrom<AttemptRow<T>> for Attempt {
    type Error = Error;

    fn try_from(row: AttemptRow<T>) -> Result<Self, Error> {
        Ok(Self {
            attempt: row.attempt.unsigned_abs(),
            started_at: row.started_at.time()?,
            ended_at: row.ended_at.time()?,
            error: row.error,
            worker_id: row.worker_id,
        })
    }
}

/// The columns of [`WorkerRow`], with `$now`; `$rest` begins at `WHERE` or `ORDER BY`.
macro_rules! select_worker {
    ($now:literal, $rest:literal) => {
        concat!(
            "SELECT id, host, pid, version, topics, started_at, heartbeat_at, stopped_at, \
             sold, failed, processed, in_flight, ",
            $now,
            " AS now FROM workers ",
            $rest
        )
    };
}
pub(super) use select_worker;

#[derive(FromRow)]
pub(super) struct WorkerRow<T> {
    id: Uuid,
    host: String,
    pid: i64,
    version: String,
    topics: String,
    started_at: T,
    heartbeat_at: T,
    stopped_at: Option<T>,
    sold: i64,
    failed: i64,
    processed: i64,
    in_flight: i64,
    now: T,
}

impl<T: StoredTime> TryFrom<WorkerRow<T>> for KnownWorker {
    type Error = Error;

    fn try_from(row: WorkerRow<T>) -> Result<Self, Error> {
        let stopped_at = row.stopped_at.map(StoredTime::time).transpose()?;
        let heartbeat_at = row.heartbeat_at.time()?;
        let heartbeat = Heartbeat {
            id: row.id,
            host: row.host,
            pid: u32::try_from(row.pid).map_err(Error::corrupt)?,
            version: row.version,
            topics: topics(row.topics.split_whitespace())?,
            has_stopped: stopped_at.is_some(),
            counts: WorkerCounts {
                sold: row.sold.unsigned_abs(),
                failed: row.failed.unsigned_abs(),
                processed: row.processed.unsigned_abs(),
                in_flight: row.in_flight.unsigned_abs(),
            },
        };
        let silent_for = row.now.time()? - heartbeat_at;
        Ok(Self {
            heartbeat,
            started_at: row.started_at.time()?,
            heartbeat_at,
            stopped_at,
            silent_for: silent_for.to_std().unwrap_or_default(),
        })
    }
}

/// Topics by their names.
pub(super) fn topics(names: impl IntoIterator<Item: AsRef<str>>) -> Result<Vec<Topic>, Error> {
    let topic = |name: &str| name.parse().map_err(Error::corrupt);
    names.into_iter().map(|name| topic(name.as_ref())).collect()
}

/// The names of topics, with spaces between.
pub(super) fn names(topics: &[Topic]) -> String {
    let names: Vec<&str> = topics.iter().map(|topic| topic.as_str()).collect();
    names.join(" ")
}

/// A count as a column holds it.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
