//! The loop that does tasks. It claims as many as may run; each attempt is a task of the runtime,
//! and holds no connection; a writer writes the results in groups. Nothing of this shares a step
//! with deciding.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    attempt::{attempt, span},
    counters::WorkerCounters,
    heartbeat::HeartbeatSender,
    result_writer::{Report, ResultWriter},
};
use crate::{
    clock::Clock,
    domain::IdGenerator,
    error::Error,
    metrics::{self, part},
    process::{Claim, Claimed, Processing, TaskStore},
    queue::Topic,
    supervise::catch,
};

/// The pause after the database failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Does the tasks of one worker.
pub(super) struct TaskLoop {
    writer: ResultWriter,
    processing: Processing,
    worker_id: Uuid,
    /// Notified after each commit that sold something.
    sold: Arc<Notify>,
    claim_ids: IdGenerator,
    permits: Arc<Semaphore>,
}

/// The end of the loop that claims.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Stopped,
    NothingIsDue,
}

impl TaskLoop {
    pub(super) fn new(
        store: Arc<dyn TaskStore>,
        clock: Arc<dyn Clock>,
        processing: Processing,
        worker_id: Uuid,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(concurrency(&processing)));
        Self {
            writer: ResultWriter {
                store,
                clock,
                counters,
                watcher: Arc::default(),
            },
            processing,
            worker_id,
            sold: Arc::default(),
            claim_ids: IdGenerator::default(),
            permits,
        }
    }

    pub(super) fn woken_by_sales(&mut self, sold: Arc<Notify>) {
        self.sold = sold;
    }

    pub(super) fn wake_after_completions(&mut self, watcher: Arc<Notify>) {
        self.writer.watcher = watcher;
    }

    /// The longest that an attempt may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.processing.options.timeout
    }

    /// Does tasks until `stop` is cancelled; those under way get as long as they may take.
    pub(super) async fn run(&self, heartbeat: &HeartbeatSender, stop: &CancellationToken) {
        self.work(heartbeat, stop, Until::Stopped).await;
    }

    /// Does tasks until none is due and none is under way.
    pub(super) async fn drain(&self, heartbeat: &HeartbeatSender, stop: &CancellationToken) {
        self.work(heartbeat, stop, Until::NothingIsDue).await;
    }

    async fn work(&self, heartbeat: &HeartbeatSender, stop: &CancellationToken, until: Until) {
        let (reports, ended) = mpsc::channel(concurrency(&self.processing));
        let (set_aside, locked) = mpsc::channel(concurrency(&self.processing));
        tokio::join!(
            self.claim_until(heartbeat, stop, until, reports),
            self.writer.write_results(ended, set_aside),
            self.writer.write_locked(locked)
        );
    }

    async fn claim_until(
        &self,
        heartbeat: &HeartbeatSender,
        stop: &CancellationToken,
        until: Until,
        reports: mpsc::Sender<Report>,
    ) {
        while !stop.is_cancelled() {
            let ready = async {
                let permit = Arc::clone(&self.permits).acquire_owned().await;
                heartbeat.opened(Topic::Process).await;
                permit.ok()
            };
            let Some(Some(permit)) = stop.run_until_cancelled(ready).await else {
                return;
            };
            // The lease begins in the database after this, and so does not end before it.
            let since = Instant::now();
            let pause = match self.claim(until).await {
                Ok(claimed) if claimed.is_empty() && until == Until::NothingIsDue => return,
                Ok(claimed) if claimed.is_empty() => self.processing.options.idle_poll,
                Ok(claimed) => {
                    self.begin(claimed, since, permit, &reports);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no tasks claimed");
                    FAILURE_PAUSE
                }
            };
            drop(permit);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.sold.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims one task for the permit that was taken, and one for each that is free besides.
    async fn claim(&self, until: Until) -> Result<Vec<Claimed>, Error> {
        let delay = match until {
            Until::Stopped => self.processing.options.delay,
            Until::NothingIsDue => Duration::ZERO,
        };
        let claim = Claim {
            id: self.claim_ids.next(self.writer.clock.now()),
            worker_id: self.worker_id,
            max: self.permits.available_permits() + 1,
            delay,
            lease: self.processing.options.lease(),
        };
        let claimed = catch(part::TASKS, self.writer.store.claim_tasks(&claim)).await;
        claimed.unwrap_or_else(|panic| Err(Error::backend(panic)))
    }

    fn begin(
        &self,
        claimed: Vec<Claimed>,
        since: Instant,
        first: OwnedSemaphorePermit,
        reports: &mpsc::Sender<Report>,
    ) {
        // Nobody else takes permits, so that each of these is there.
        let further =
            (1..claimed.len()).map_while(|_| Arc::clone(&self.permits).try_acquire_owned().ok());
        let permits = std::iter::once(first).chain(further).collect::<Vec<_>>();
        for (claimed, permit) in claimed.into_iter().zip(permits) {
            self.writer.counters.attempt_began();
            metrics::task_began();
            let span = span(&claimed);
            let attempt = attempt(claimed, since, self.processing.clone(), self.worker_id);
            let reports = reports.clone();
            tokio::spawn(async move {
                // Each report has its place in the channel, whose reader stays until the last
                // one has come.
                let _ = reports.send((attempt.instrument(span).await, permit)).await;
            });
        }
    }
}

/// The most attempts that may run at once.
fn concurrency(processing: &Processing) -> usize {
    let wanted = processing.options.concurrency;
    wanted.clamp(1, Semaphore::MAX_PERMITS)
}
