//! What a database does with tasks.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{TaskHistory, TaskKind, TaskStatus};
use crate::{
    domain::{Order, OrderId},
    error::Error,
    queue::Lease,
};

/// What a claim asks for.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Names the claim.
    pub id: Uuid,
    /// Who claims.
    pub worker_id: Uuid,
    /// The most tasks to give.
    pub max: usize,
    /// How long a task must have been due.
    pub delay: Duration,
    /// How long the claim holds, from when it is made.
    pub lease: Duration,
}

/// A task under a lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The claim.
    pub lease: Lease,
    /// What is to be done.
    pub kind: TaskKind,
    /// How often the task was ever claimed, this time included.
    pub run: u32,
    /// The order; `None` when there is none, so that there is nothing to do.
    pub order: Option<Order>,
}

impl Claimed {
    /// What to write of an attempt at it by `worker_id` that just ended.
    #[must_use]
    pub fn ended(&self, worker_id: Uuid, took: Duration, ending: Ending) -> Ended {
        Ended {
            lease: self.lease,
            kind: self.kind,
            run: self.run,
            worker_id,
            took,
            ending,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Well.
    Done,
    /// It failed, and the next one may begin this long after its end is written.
    Retry(Duration, String),
    /// It failed, and there is no next one.
    Dead(String),
    /// There was no attempt left to make.
    Exhausted(String),
}

/// An attempt that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The claim.
    pub lease: Lease,
    /// What was attempted.
    pub kind: TaskKind,
    /// Its number, as it was claimed.
    pub run: u32,
    /// Who made it.
    pub worker_id: Uuid,
    /// How long it took.
    pub took: Duration,
    /// How.
    pub ending: Ending,
}

impl Ended {
    /// The error to keep, of an attempt that was made and failed.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match &self.ending {
            Ending::Retry(_, error) | Ending::Dead(error) => Some(error),
            Ending::Done | Ending::Exhausted(_) => None,
        }
    }
}

/// Keeps the tasks of sold orders: the entries of the topic `process`. They come with the
/// sale, and go or turn with the cancelling, without a call of their own.
///
/// What is due, and which lease ran out, goes by the clock of the store, which is the same for
/// all who share it: callers give durations. Their own times are what people read.
#[async_trait]
pub trait TaskStore: Send + Sync {
    /// Claims tasks that are due, those that wait longest first; none while the topic is
    /// paused. Where a lease ran out, that attempt is kept as failed.
    async fn claim_tasks(&self, claim: &Claim) -> Result<Vec<Claimed>, Error>;

    /// Writes how attempts ended, all in one transaction; how many orders were completed by
    /// that, as of `at`. What is done is gone; a task that turned into a compensation meanwhile is due at
    /// once. A claim that was taken over changes no task; that its attempt did well counts.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody holds one of these orders locked: nothing was written.
    async fn end_tasks(&self, ended: &[Ended], at: DateTime<Utc>) -> Result<u64, Error>;

    /// Puts the task of an order on the queue, at once: anew, when it is done; as if it had
    /// never been claimed, when it is dead. `None` when there is no such order.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it was not sold, or cancelled with nothing to undo.
    async fn put_task(&self, id: OrderId) -> Result<Option<TaskStatus>, Error>;

    /// What became of an order's task; `None` when there is no such order.
    async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error>;
}
