//! Doing tasks. One loop claims as many as may run; each attempt is a task of the runtime,
//! and holds no connection; one loop writes how they ended, as many in a transaction as ended
//! while the one before was written. Nothing of this shares a step with deciding.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug_span};
use uuid::Uuid;

use super::{pulse::Pulse, tally::Tally};
use crate::{
    clock::Clock,
    domain::{IdGenerator, OrderStatus},
    error::Error,
    metrics,
    process::{
        Claim, Claimed, Ended, Ending, ProcessError, ProcessOptions, Processing, Task, TaskKind,
    },
    queue::{Lease, Topic},
    store::Store,
    supervise::{self, catch},
    trace,
};

/// The most attempts whose end is written in one transaction.
const ENDED_TASKS: usize = 1_000;
/// How long to wait after the database failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait for an order that somebody holds locked, and between two tries.
const LOCKED_LIMIT: Duration = Duration::from_secs(10);
const LOCKED_PAUSE: Duration = Duration::from_millis(100);

/// An attempt that ended, with its place among those that may run: it is free once the end
/// is written, so that what waits to be written is bounded.
type Report = (Ended, OwnedSemaphorePermit);

/// Does the tasks of one worker.
pub(super) struct Tasks {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) processing: Processing,
    pub(super) worker_id: Uuid,
    pub(super) tally: Arc<Tally>,
    /// Told after each commit that sold something.
    pub(super) sold: Arc<Notify>,
    pub(super) watcher: Arc<Notify>,
    claim_ids: IdGenerator,
    places: Arc<Semaphore>,
}

/// How far the loop that claims goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Stopped,
    NothingIsDue,
}

impl Tasks {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        processing: Processing,
        worker_id: Uuid,
        tally: Arc<Tally>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(concurrency(&processing)));
        Self {
            store,
            clock,
            processing,
            worker_id,
            tally,
            sold: Arc::default(),
            watcher: Arc::default(),
            claim_ids: IdGenerator::default(),
            places,
        }
    }

    /// Does tasks until `stop` is cancelled; those under way get as long as they may take.
    pub(super) async fn run(&self, pulse: &Pulse, stop: &CancellationToken) {
        self.work(pulse, stop, Until::Stopped).await;
    }

    /// Does tasks until none is due and none is under way.
    pub(super) async fn drain(&self, pulse: &Pulse, stop: &CancellationToken) {
        self.work(pulse, stop, Until::NothingIsDue).await;
    }

    async fn work(&self, pulse: &Pulse, stop: &CancellationToken, until: Until) {
        let (reports, ended) = mpsc::channel(concurrency(&self.processing));
        let (set_aside, locked) = mpsc::channel(concurrency(&self.processing));
        tokio::join!(
            self.claim_until(pulse, stop, until, reports),
            self.write_ends(ended, set_aside),
            self.write_locked(locked)
        );
    }

    async fn claim_until(
        &self,
        pulse: &Pulse,
        stop: &CancellationToken,
        until: Until,
        reports: mpsc::Sender<Report>,
    ) {
        while !stop.is_cancelled() {
            let ready = async {
                let place = Arc::clone(&self.places).acquire_owned().await;
                pulse.opened(Topic::Process).await;
                place.ok()
            };
            let Some(Some(place)) = stop.run_until_cancelled(ready).await else {
                return;
            };
            // The lease begins in the database after this, and so does not end before it.
            let since = Instant::now();
            let pause = match self.claim(until).await {
                Ok(claimed) if claimed.is_empty() && until == Until::NothingIsDue => return,
                Ok(claimed) if claimed.is_empty() => self.processing.options.idle_poll,
                Ok(claimed) => {
                    self.begin(claimed, since, place, &reports);
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no tasks claimed");
                    PAUSE
                }
            };
            drop(place);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.sold.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims one task for the place that was taken, and one for each that is free besides.
    async fn claim(&self, until: Until) -> Result<Vec<Claimed>, Error> {
        let delay = match until {
            Until::Stopped => self.processing.options.delay,
            Until::NothingIsDue => Duration::ZERO,
        };
        let claim = Claim {
            id: self.claim_ids.next(self.clock.now()),
            worker_id: self.worker_id,
            max: self.places.available_permits() + 1,
            delay,
            lease: self.processing.options.lease(),
        };
        let claimed = catch(supervise::TASKS, self.store.claim_tasks(&claim)).await;
        claimed.unwrap_or_else(|panic| Err(Error::backend(panic)))
    }

    fn begin(
        &self,
        claimed: Vec<Claimed>,
        since: Instant,
        first: OwnedSemaphorePermit,
        reports: &mpsc::Sender<Report>,
    ) {
        // Nobody else takes places, so that each of these is there.
        let further =
            (1..claimed.len()).map_while(|_| Arc::clone(&self.places).try_acquire_owned().ok());
        let places = std::iter::once(first).chain(further).collect::<Vec<_>>();
        for (claimed, place) in claimed.into_iter().zip(places) {
            self.tally.began();
            metrics::task_began();
            let span = span(&claimed);
            let attempt = attempt(claimed, since, self.processing.clone(), self.worker_id);
            let reports = reports.clone();
            tokio::spawn(async move {
                // Each report has its place in the channel; who reads them is there until the
                // last one has come.
                let _ = reports.send((attempt.instrument(span).await, place)).await;
            });
        }
    }

    /// Writes how attempts ended, until all of them have. When somebody holds an order locked, the
    /// group is halved until that one is found, which is set aside.
    async fn write_ends(
        &self,
        mut reports: mpsc::Receiver<Report>,
        set_aside: mpsc::Sender<Report>,
    ) {
        let mut arrived: Vec<Report> = Vec::new();
        while reports.recv_many(&mut arrived, ENDED_TASKS).await > 0 {
            let mut groups = vec![std::mem::take(&mut arrived)];
            while let Some(mut group) = groups.pop() {
                let ended: Vec<Ended> = group.iter().map(|(ended, _)| ended.clone()).collect();
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

    /// Writes how attempts ended whose orders were locked, one after the other, so that they hold
    /// up no others. One that stays locked is lost with its lease: the task is attempted again.
    async fn write_locked(&self, mut locked: mpsc::Receiver<Report>) {
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
        self.tally.ended(group.len());
        metrics::tasks_left(group.len());
    }

    /// Whether these are done with: false when somebody holds one of their orders locked. What
    /// cannot be written is lost with its lease: the task is attempted again.
    async fn write(&self, ended: &[Ended]) -> bool {
        let written = self.store.end_tasks(ended, self.clock.now());
        let written = catch(supervise::TASKS, written).await;
        match written.unwrap_or_else(|panic| Err(Error::backend(panic))) {
            Ok(completed) => {
                metrics::tasks_ended(ended);
                let done = ended.iter().filter(|ended| ended.ending == Ending::Done);
                self.tally.processed(done.count());
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

/// How many attempts may run at once.
fn concurrency(processing: &Processing) -> usize {
    let wanted = processing.options.concurrency;
    wanted.clamp(1, Semaphore::MAX_PERMITS)
}

/// The span of an attempt, in the trace of the request that placed the order.
fn span(claimed: &Claimed) -> Span {
    let Lease {
        order_id, attempts, ..
    } = claimed.lease;
    let span = debug_span!(parent: None, "task", order = %order_id, attempt = i64::from(attempts));
    if let Some(parent) = claimed.order.as_ref().and_then(|order| order.trace_parent) {
        trace::go_on(&span, parent);
    }
    span
}

/// Makes one attempt at what was claimed after `since`, and tells how it ended.
async fn attempt(
    claimed: Claimed,
    since: Instant,
    processing: Processing,
    worker_id: Uuid,
) -> Ended {
    let begun = Instant::now();
    let ending = match make(&claimed, since, &processing).await {
        Ok(()) => Ending::Done,
        Err(failure) => failure.ending(&claimed, &processing),
    };
    if let Some(error) = Some(&ending).and_then(given_up) {
        tracing::error!(error, order = %claimed.lease.order_id, "task is given up");
    }
    claimed.ended(worker_id, begun.elapsed(), ending)
}

fn given_up(ending: &Ending) -> Option<&str> {
    match ending {
        Ending::Dead(reason) | Ending::Exhausted(reason) => Some(reason),
        Ending::Done | Ending::Retry(..) => None,
    }
}

/// Why an attempt did not end well.
enum Failure {
    /// It was made.
    Failed(ProcessError),
    /// There was none left.
    Exhausted,
}

impl Failure {
    fn ending(self, claimed: &Claimed, processing: &Processing) -> Ending {
        let options = &processing.options;
        match self {
            Self::Exhausted => Ending::Exhausted(format!(
                "the worker ended or hung during attempt {} of {0}",
                options.max_attempts
            )),
            Self::Failed(ProcessError::GiveUp { reason }) => Ending::Dead(reason),
            Self::Failed(ProcessError::Retry { reason, .. })
                if claimed.lease.attempts >= options.max_attempts =>
            {
                Ending::Dead(reason)
            }
            Self::Failed(ProcessError::Retry { reason, after }) => {
                let usual = options.retry_delay(claimed.lease.attempts);
                let delay = after.map_or(usual, |after| after.max(usual));
                Ending::Retry(delay.min(options.max_delay), reason)
            }
        }
    }
}

async fn make(claimed: &Claimed, since: Instant, processing: &Processing) -> Result<(), Failure> {
    if claimed.lease.attempts > processing.options.max_attempts {
        return Err(Failure::Exhausted);
    }
    let Some(task) = task(claimed).map_err(Failure::Failed)? else {
        return Ok(());
    };
    let processor = &processing.processor;
    let attempt = async {
        match task.kind {
            TaskKind::Process => processor.process(&task).await,
            TaskKind::Compensate => processor.compensate(&task).await,
        }
    };
    let limit = limit(since, &processing.options).map_err(Failure::Failed)?;
    let ended = timeout(limit, AssertUnwindSafe(attempt).catch_unwind()).await;
    let result = match ended {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ProcessError::retry("the processor panicked")),
        Err(_) => Err(ProcessError::retry(format!("took longer than {limit:?}"))),
    };
    result.map_err(Failure::Failed)
}

/// How long an attempt may take: no longer than its lease holds, by the monotonic clock of this
/// process. An answer to the claim that was long under way has used up some of that.
fn limit(since: Instant, options: &ProcessOptions) -> Result<Duration, ProcessError> {
    let left = options.lease().saturating_sub(since.elapsed());
    if left.is_zero() {
        return Err(ProcessError::retry(
            "the lease ran out before the attempt could begin",
        ));
    }
    Ok(options.timeout.min(left))
}

/// What there is to do; nothing, when the order was cancelled just after the claim: then its
/// task is a compensation by now, which has its turn next.
fn task(claimed: &Claimed) -> Result<Option<Task>, ProcessError> {
    let Some(order) = &claimed.order else {
        return Err(ProcessError::give_up("there is no such order"));
    };
    let fits = match claimed.kind {
        TaskKind::Process => order.status.holds_stock(),
        TaskKind::Compensate => order.status == OrderStatus::Cancelled,
    };
    if !fits && order.status != OrderStatus::Cancelled {
        return Err(ProcessError::give_up(format!(
            "the order is {}",
            order.status
        )));
    }
    Ok(fits.then(|| Task {
        kind: claimed.kind,
        order: order.clone(),
        attempt: claimed.lease.attempts,
    }))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// However long the answer to the claim was under way.
    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_before_its_lease_does() {
        let second = Duration::from_secs(1);
        let options = ProcessOptions {
            timeout: 10 * second,
            ..ProcessOptions::default()
        };
        let since = Instant::now();
        assert_eq!(options.lease(), 15 * second);
        assert_eq!(limit(since, &options), Ok(10 * second));
        advance(4 * second).await;
        assert_eq!(limit(since, &options), Ok(10 * second));
        advance(4 * second).await;
        assert_eq!(limit(since, &options), Ok(7 * second));
        advance(7 * second).await;
        assert!(limit(since, &options).is_err());
        advance(7 * second).await;
        assert!(limit(since, &options).is_err());
    }
}
