//! The store of tasks, with what it takes and gives.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{TaskHistory, TaskKind, TaskState, TaskStatus};
use crate::{
    domain::{Order, OrderId},
    error::Error,
    queue::{Lease, QueueStats},
};

/// A claim to make.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Names the claim.
    pub id: Uuid,
    /// The worker that claims.
    pub worker_id: Uuid,
    /// The most tasks to give one by one.
    pub max: usize,
    /// The most tasks to give when they were packed together, if that is more: a store that leases
    /// them as they are packed may give so many.
    pub ahead: usize,
    /// The time for which a task must have been due.
    pub delay: Duration,
    /// The time for which the claim holds, from when it is made.
    pub lease: Duration,
}

/// A task under a lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The claim.
    pub lease: Lease,
    /// The kind of work.
    pub kind: TaskKind,
    /// The number of times that the task was ever claimed, this time included.
    pub run: u32,
    /// The order; `None` when there is none, so that there is nothing to do.
    pub order: Option<Order>,
}

impl Claimed {
    /// The result of an attempt by `worker_id` that just ended.
    #[must_use]
    pub fn result(
        &self,
        worker_id: Uuid,
        took: Duration,
        outcome: AttemptOutcome,
    ) -> AttemptResult {
        AttemptResult {
            lease: self.lease,
            kind: self.kind,
            run: self.run,
            worker_id,
            took,
            outcome,
        }
    }
}

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It succeeded.
    Done,
    /// It failed, and the next one may begin this long after the result is written.
    Retry(Duration, String),
    /// It failed, and there is no next one.
    Dead(String),
    /// There was no attempt left to make.
    Exhausted(String),
    /// None was begun: the task is due as if it had not been claimed.
    NotBegun,
}

impl AttemptOutcome {
    /// Tells whether no attempt was made.
    pub(crate) const fn is_no_attempt(&self) -> bool {
        matches!(self, Self::Exhausted(_) | Self::NotBegun)
    }
}

/// The result of an attempt.
#[derive(Clone, Debug)]
pub struct AttemptResult {
    /// The claim.
    pub lease: Lease,
    /// The kind of work.
    pub kind: TaskKind,
    /// Its number, as it was claimed.
    pub run: u32,
    /// The worker that made it.
    pub worker_id: Uuid,
    /// The time that it took.
    pub took: Duration,
    /// Its outcome.
    pub outcome: AttemptOutcome,
}

impl Claim {
    /// The most tasks to give when they were packed together.
    pub(crate) fn room(&self) -> usize {
        self.max.max(self.ahead)
    }

    /// The rest of the claim, after so many tasks.
    pub(crate) fn after(&self, tasks: usize) -> Self {
        Self {
            max: self.max.saturating_sub(tasks),
            ahead: self.ahead.saturating_sub(tasks),
            ..*self
        }
    }
}

impl AttemptResult {
    /// Tells whether it may be of a task that was claimed with those that it was packed with: that
    /// happens to each once, and first of all.
    pub(crate) const fn may_be_packed(&self) -> bool {
        self.run == 1 && self.lease.attempts == 1 && !self.kind.compensates()
    }

    /// The error to keep, of an attempt that was made and failed.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match &self.outcome {
            AttemptOutcome::Retry(_, error) | AttemptOutcome::Dead(error) => Some(error),
            AttemptOutcome::Done | AttemptOutcome::Exhausted(_) | AttemptOutcome::NotBegun => None,
        }
    }
}

/// Tasks in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskQuery {
    /// The state.
    pub state: TaskState,
    /// The time for which a task must have been due before it is claimed.
    pub delay: Duration,
    /// The most to give.
    pub limit: usize,
}

/// A store that keeps the tasks of sold orders: the entries of the topic `process`. They come with
/// the sale, and go or turn with the cancelling, without a call of their own.
///
/// Tasks are due and leases run out by the clock of the store, which is the same for all who
/// share it: callers give durations. Times that callers give are only for people to read.
#[async_trait]
pub trait TaskStore: Send + Sync {
    /// Claims tasks that are due, those that wait longest first; none while the topic is
    /// paused. Where a lease ran out, that attempt is kept as failed.
    async fn claim_tasks(&self, claim: &Claim) -> Result<Vec<Claimed>, Error>;

    /// Writes the results of attempts, in as few transactions as are short, and gives the number of
    /// orders that they completed, as of `at`. A task that is done is gone; one that turned into a compensation
    /// meanwhile is due at once. A claim that was taken over changes no task, but an attempt that
    /// succeeded counts all the same.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody holds one of these orders locked, so that they are to be written
    /// again. What was written before counts once.
    async fn end_tasks(&self, ended: &[AttemptResult], at: DateTime<Utc>) -> Result<u64, Error>;

    /// Puts the task of an order on the queue, at once: anew, when it is done; as if it had
    /// never been claimed, when it is dead. `None` when there is no such order.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it was not sold, or cancelled with nothing to undo.
    async fn put_task(&self, id: OrderId) -> Result<Option<TaskStatus>, Error>;

    /// The number of tasks in each state, where each is claimed `delay` after it is due.
    async fn task_stats(&self, delay: Duration) -> Result<QueueStats, Error>;

    /// Tasks in one state, those first whose turn is first; dead ones the latest first.
    async fn tasks(&self, query: &TaskQuery) -> Result<Vec<TaskStatus>, Error>;

    /// The history of an order's task; `None` when there is no such order.
    async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error>;
}
