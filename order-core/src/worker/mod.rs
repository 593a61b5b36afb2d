//! The worker: it decides accepted orders, and does post-sale tasks, until it is told to stop.
//!
//! Any number of workers, in any number of processes, share the work without a leader: they
//! skip each other's claims. Stopping is graceful: the batch under way is finished first, and
//! tasks under way get as long as they may take.

mod attempt;
mod batch_source;
mod compactor;
mod counters;
mod decide_loop;
mod decision_counts;
mod expiry;
mod heartbeat;
mod options;
mod pace;
mod result_writer;
mod runner;
mod sweeper;
mod task_loop;

pub use self::{decision_counts::DecisionCounts, options::WorkerOptions, runner::Worker};
pub(crate) use compactor::Compaction;
