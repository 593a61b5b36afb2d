//! Writing the results of attempts, as many in a transaction as came while the one before was
//! written.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc},
    time::Instant,
};

use super::counters::WorkerCounters;
use crate::{
    clock::Clock,
    error::Error,
    metrics::{self, part},
    process::{AttemptOutcome, AttemptResult, TaskStore},
    supervise::catch,
};

/// The most results that are given to the store at once, which may take several transactions.
const GROUP_RESULTS: usize = 2_000;
/// The longest wait for an order that somebody holds locked, and the pause between two tries.
const LOCKED_LIMIT: Duration = Duration::from_secs(10);
const LOCKED_PAUSE: Duration = Duration::from_millis(100);

/// An attempt that ended, with its place among those that were claimed: it is given back once the
/// result is written, so that the results that wait are bounded.
pub(super) type Report = (AttemptResult, OwnedSemaphorePermit);

/// Writes the results of one worker's attempts.
pub(super) struct ResultWriter {
    pub(super) store: Arc<dyn TaskStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<WorkerCounters>,
    /// Notified after each commit that completed an order.
    pub(super) watcher: Arc<Notify>,
}

impl ResultWriter {
    /// Writes results in groups, until all attempts have ended. When somebody holds an order
    /// locked, the group is halved until that one is found, which is set aside.
    pub(super) async fn write_results(
        &self,
        mut reports: mpsc::Receiver<Report>,
        set_aside: mpsc::Sender<Report>,
    ) {
        let mut arrived: Vec<Report> = Vec::new();
        while reports.recv_many(&mut arrived, GROUP_RESULTS).await > 0 {
            let mut groups = vec![std::mem::take(&mut arrived)];
            while let Some(mut group) = groups.pop() {
                let ended: Vec<AttemptResult> =
                    group.iter().map(|(ended, _)| ended.clone()).collect();
                if self.write(&ended).await {
                    self.leave(group);
                } else if group.len() > 1 {
                    let rest = group.split_off(group.len() / 2);
                    groups.extend([rest, group]);
                } else {
                    for report in group {
                        // There is room for as many as have places.
                        let _ = set_aside.send(report).await;
                    }
                }
            }
        }
    }

    /// Writes results whose orders were locked, one after the other, so that they hold up no
    /// others. One that stays locked is lost with its lease: the task is attempted again.
    pub(super) async fn write_locked(&self, mut locked: mpsc::Receiver<Report>) {
        while let Some(report) = locked.recv().await {
            let until = Instant::now() + LOCKED_LIMIT;
            let ended = std::slice::from_ref(&report.0);
            while !self.write(ended).await {
                if Instant::now() >= until {
                    let order = report.0.lease.order_id;
                    tracing::error!(%order, "order is locked, its task will be attempted again");
                    break;
                }
                tokio::time::sleep(LOCKED_PAUSE).await;
            }
            self.leave(vec![report]);
        }
    }

    fn leave(&self, group: Vec<Report>) {
        self.counters.attempts_ended(group.len());
        metrics::tasks_left(group.len());
    }

    /// Writes results; false when somebody holds one of their orders locked. Results that cannot be
    /// written are lost with their leases: the tasks are attempted again.
    async fn write(&self, ended: &[AttemptResult]) -> bool {
        let written = self.store.end_tasks(ended, self.clock.now());
        let written = catch(part::TASKS, written).await;
        match written.unwrap_or_else(|panic| Err(Error::backend(panic))) {
            Ok(completed) => {
                metrics::tasks_ended(ended);
                let done = ended
                    .iter()
                    .filter(|ended| ended.outcome == AttemptOutcome::Done);
                self.counters.processed(done.count());
                if completed > 0 {
                    self.watcher.notify_one();
                }
            }
            Err(Error::Locked) => return false,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, tasks = ended.len(), "tasks will be attempted again");
            }
        }
        true
    }
}
