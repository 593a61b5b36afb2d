//! Tasks as plain data.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Order, OrderId, OrderStatus, RequestedLine};

/// The kind of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The work that follows the sale of an order.
    Process,
    /// The undoing of that work, or of a part of it: the order was cancelled, or gave something back.
    Compensate,
}

impl TaskKind {
    pub(crate) const fn of(compensates: bool) -> Self {
        if compensates {
            Self::Compensate
        } else {
            Self::Process
        }
    }

    /// True for the undoing.
    #[must_use]
    pub const fn compensates(self) -> bool {
        matches!(self, Self::Compensate)
    }
}

/// Names a task: the same for each of its attempts, and another for the compensation, and for each
/// one that tells of more that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    /// The order.
    pub order_id: OrderId,
    /// The kind of work.
    pub kind: TaskKind,
    /// The pieces that came back so far of an order that stays completed.
    pub returned: Option<i64>,
}

impl TaskId {
    /// The id of the task of this kind of an order as it is now.
    #[must_use]
    pub fn of(kind: TaskKind, order: &Order) -> Self {
        let is_return = kind.compensates() && order.status == OrderStatus::Completed;
        let cancelled = order.lines.iter().map(|line| line.cancelled_quantity);
        Self {
            order_id: order.id,
            kind,
            returned: is_return.then(|| cancelled.sum()),
        }
    }

    /// True when it undoes a part of a completed order, or all of it: the order stays completed.
    #[must_use]
    pub const fn is_return(&self) -> bool {
        self.returned.is_some()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.returned) {
            (TaskKind::Process, _) => write!(f, "sale_{}", self.order_id),
            (TaskKind::Compensate, None) => write!(f, "cancel_{}", self.order_id),
            (TaskKind::Compensate, Some(n)) => write!(f, "return_{}_{n}", self.order_id),
        }
    }
}

/// A task, for the one attempt that is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The kind of work.
    pub kind: TaskKind,
    /// The order, as it was when the task was claimed.
    pub order: Order,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}

impl Task {
    /// The id to deduplicate by.
    #[must_use]
    pub fn id(&self) -> TaskId {
        TaskId::of(self.kind, &self.order)
    }

    /// What came back of the order, all returns together.
    #[must_use]
    pub fn returned(&self) -> Vec<RequestedLine> {
        self.order.cancelled_lines()
    }
}

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It may be claimed.
    Waiting,
    /// It waits out the delay before its first attempt.
    Scheduled,
    /// Under a lease.
    InFlight,
    /// It waits for its retry.
    Retrying,
    /// It was given up.
    Dead,
}

/// A task as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    /// The order.
    pub order_id: OrderId,
    /// The kind of work.
    pub kind: TaskKind,
    /// Its state.
    pub state: TaskState,
    /// The claims since it was put on the queue or redriven.
    pub attempts: u32,
    /// The time from which it may be claimed, or at which its lease ends, or at which it was given
    /// up.
    pub at: DateTime<Utc>,
    /// The reason for which it was given up.
    pub reason: Option<String>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its number among those of the order, from 1, those before a redrive included.
    pub attempt: u32,
    /// The time at which it was claimed.
    pub started_at: DateTime<Utc>,
    /// The time at which it ended.
    pub ended_at: DateTime<Utc>,
    /// The error.
    pub error: String,
    /// The worker that made it, where that is known.
    pub worker_id: Option<Uuid>,
}

impl Attempt {
    /// The time that it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        (self.ended_at - self.started_at)
            .to_std()
            .unwrap_or_default()
    }
}

/// The history of an order's task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskHistory {
    /// The attempts that failed, the first one first.
    pub attempts: Vec<Attempt>,
    /// The task, as long as there is one.
    pub task: Option<TaskStatus>,
}
