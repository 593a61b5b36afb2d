//! Post-sale tasks: each sold order has one, and a processor does it.
//!
//! A task is an entry of the topic `process` in the database, whatever carries the other
//! topic: it comes with the sale, in the same statement, so that neither is without the other.
//! A worker claims tasks under a lease, attempts them, and writes the results in groups.
//!
//! ```text
//! sold ─► waiting ─► in flight ─┬─► done: the order is completed, the task is gone
//!            ▲  ▲               ├─► failed ─► delayed ─┐
//!            │  └───────────────┤ lease ran out        │
//!            └──────────────────┼──────────────────────┘
//!                               └─► failed for good, or too often ─► dead ─► redrive ─► waiting
//! ```
//!
//! Attempts are made **at least once**: a worker that is killed may have done its task and
//! told nobody. A processor deduplicates by [`Task::id`], which is the same for each attempt.
//!
//! **When the order is cancelled**, a task that nobody ever claimed is gone with it. Any other may
//! have been done in part: it turns into a compensation, with an id of its own,
//! which is attempted, retried and given up like every task. An attempt that is under way
//! meanwhile runs to its end; then the compensation has its turn.

mod log;
mod options;
mod processor;
mod simulate;
mod task;
mod task_store;
#[cfg(feature = "webhook")]
mod webhook;

pub use log::LogProcessor;
pub use options::{ProcessOptions, Processing};
pub use processor::{OrderProcessor, ProcessError};
pub use simulate::SimulatedProcessor;
pub use task::{Attempt, Task, TaskHistory, TaskId, TaskKind, TaskState, TaskStatus};
pub use task_store::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskQuery, TaskStore};
#[cfg(feature = "webhook")]
pub use webhook::{WebhookOptions, WebhookProcessor, WebhookSecret};
