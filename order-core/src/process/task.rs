//! Tasks as plain data.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Order, OrderId};

/// The kind of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The work that follows the sale of an order.
    Process,
    /// The undoing of that work: the order was cancelled.
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

/// Names a task: the same for each of its attempts, and another for the compensation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    /// The order.
    pub order_id: OrderId,
    /// The kind of work.
    pub kind: TaskKind,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TaskKind::Process => write!(f, "sale_{}", self.order_id),
            TaskKind::Compensate => write!(f, "cancel_{}", self.order_id),
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
    pub const fn id(&self) -> TaskId {
        TaskId {
            order_id: self.order.id,
            kind: self.kind,
        }
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
