//! The trait of a processor, and how an attempt of it fails.

use std::time::Duration;

use async_trait::async_trait;

use super::Task;

/// The failure of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// Not now: another attempt follows, when there are any left.
    #[error("{reason}")]
    Retry {
        /// The reason.
        reason: String,
        /// The shortest wait, if the processor knows better than the usual delay.
        after: Option<Duration>,
    },
    /// Never: the task is a dead letter.
    #[error("{reason}")]
    GiveUp {
        /// The reason.
        reason: String,
    },
}

impl ProcessError {
    /// A failure that may pass.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// A failure that stays.
    pub fn give_up(reason: impl Into<String>) -> Self {
        Self::GiveUp {
            reason: reason.into(),
        }
    }
}

/// A processor of post-sale tasks.
///
/// Attempts run concurrently, each under a time-out: one that takes longer is dropped where it
/// awaits. One that panics has failed.
///
/// A processor that does many tasks in the time of one, by one statement or one request, says so by
/// [`max_batch`](Self::max_batch):
///
/// ```
/// use async_trait::async_trait;
/// use order_core::process::{OrderProcessor, ProcessError, Task};
///
/// /// Sends parcels: the orders of a batch by one request.
/// struct Parcels;
///
/// impl Parcels {
///     /// Tells of each parcel whether it was taken.
///     async fn send(&self, tasks: &[Task]) -> Result<Vec<bool>, std::io::Error> {
///         Ok(tasks.iter().map(|task| !task.order.lines.is_empty()).collect())
///     }
/// }
///
/// #[async_trait]
/// impl OrderProcessor for Parcels {
///     fn max_batch(&self) -> usize {
///         100
///     }
///
///     async fn process_batch(&self, tasks: &[Task]) -> Vec<Result<(), ProcessError>> {
///         let sent = self.send(tasks).await;
///         let of_each = |n: usize| match &sent {
///             Ok(sent) if sent[n] => Ok(()),
///             Ok(_) => Err(ProcessError::give_up("nothing to send")),
///             Err(error) => Err(ProcessError::retry(error.to_string())),
///         };
///         (0..tasks.len()).map(of_each).collect()
///     }
///
///     // What failed before comes by itself.
///     async fn process(&self, task: &Task) -> Result<(), ProcessError> {
///         self.process_batch(std::slice::from_ref(task)).await.remove(0)
///     }
/// }
/// ```
#[async_trait]
pub trait OrderProcessor: Send + Sync {
    /// Tells whether it calls a program elsewhere, so that traces show its attempts as calls.
    fn calls_elsewhere(&self) -> bool {
        false
    }

    /// Does the post-sale task of an order.
    ///
    /// # Errors
    /// The reason of the failure, and if another attempt may help.
    async fn process(&self, task: &Task) -> Result<(), ProcessError>;

    /// The most tasks that [`process_batch`](Self::process_batch) is given at once. With 1, the default,
    /// each task is given to [`process`](Self::process).
    fn max_batch(&self) -> usize {
        1
    }

    /// Does the post-sale tasks of several orders in one attempt at each, and gives the result of each,
    /// in their order. The default does one after the other.
    ///
    /// A batch consists of tasks that are attempted for the first time since they were put on the queue,
    /// as many as were claimed together and may run ([`ProcessOptions::concurrency`] counts tasks); it
    /// waits for no more of them. It has the time-out of one attempt. When it takes longer, panics, or
    /// gives another number of results, the attempt at each of its tasks has failed. What failed is
    /// attempted again by [`process`](Self::process), so that one order cannot fail others again and
    /// again; a compensation is never part of a batch.
    ///
    /// [`ProcessOptions::concurrency`]: super::ProcessOptions::concurrency
    async fn process_batch(&self, tasks: &[Task]) -> Vec<Result<(), ProcessError>> {
        let mut results = Vec::with_capacity(tasks.len());
        for task in tasks {
            results.push(self.process(task).await);
        }
        results
    }

    /// Undoes the task, since the order was cancelled: it may not have been done, or only in part. Or
    /// undoes a part of it, since a completed order gave something back ([`TaskId::is_return`](super::TaskId::is_return)).
    /// [`Task::returned`] is all that came back so far, which a later return adds to. The default
    /// does nothing.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        let _ = task;
        Ok(())
    }
}
