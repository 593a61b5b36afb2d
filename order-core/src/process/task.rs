//! Tasks as plain data.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{Order, OrderId};

/// What is to be done for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// What follows its sale.
    Process,
    /// To undo that: it was cancelled.
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

    /// Whether it undoes.
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
    /// What is to be done for it.
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
    /// What is to be done.
    pub kind: TaskKind,
    /// The order, as it was when the task was claimed.
    pub order: Order,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

impl Task {
    /// What to deduplicate by.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        TaskId {
            order_id: self.order.id,
            kind: self.kind,
        }
    }
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It may be claimed.
    Waiting,
    /// Under a lease.
    InFlight,
    /// It waits for its retry.
    Delayed,
    /// It was given up.
    Dead,
}

/// A task as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    /// The order.
    pub order_id: OrderId,
    /// What is to be done for it.
    pub kind: TaskKind,
    /// Where it is.
    pub state: TaskState,
    /// How often it was claimed since it was put on the queue or redriven.
    pub attempts: u32,
    /// When it may be claimed, or its lease ends; of a dead one, when it was given up.
    pub at: DateTime<Utc>,
    /// Why it was given up.
    pub reason: Option<String>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Which one of the order, from 1, all that came before a redrive included.
    pub attempt: u32,
    /// When it was claimed.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// What went wrong.
    pub error: String,
    /// Who made it, where that is known.
    pub worker_id: Option<Uuid>,
}

impl Attempt {
    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        (self.ended_at - self.started_at)
            .to_std()
            .unwrap_or_default()
    }
}

/// What became of an order's task so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskHistory {
    /// The attempts that failed, the first one first.
    pub attempts: Vec<Attempt>,
    /// The task, as long as there is one.
    pub task: Option<TaskStatus>,
}
