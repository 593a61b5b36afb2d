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
