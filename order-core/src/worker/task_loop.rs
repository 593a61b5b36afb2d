//! The loop that does tasks. It claims as many as may run, and more when those before ended fast;
//! each attempt is a task of the runtime, unless it ends at once, and holds no connection; a writer
//! writes the results in groups. Nothing of this shares a step with deciding.

use std::{iter::Peekable, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::join};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    attempt::{Attempt, begin, goes_together},
    counters::WorkerCounters,
    heartbeat::HeartbeatSender,
    pace::{MOST_AHEAD, Pace},
    result_writer::{Report, ResultWriter},
};
use crate::{
    clock::Clock,
    domain::IdGenerator,
    error::Error,
    metrics::{self, part},
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, Processing, TaskStore},
    queue::Topic,
    supervise::catch,
};

/// The pause after the database failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The least time between two claims, when the first one took all that was due: sales that come
/// one by one share the statements that follow them.
const CLAIM_EVERY: Duration = Duration::from_millis(20);

/// A claim of so many tasks may have left some, also when more may run: a store gives a few hundred
/// at once, and fewer where each was sold by itself.
const MAY_BE_MORE: usize = 64;

/// The time after which a task that was claimed and could not begin is given back: those before it
/// take longer than others did. It is no longer than a lease outlives the time-out.
const BEGIN_WITHIN: Duration = Duration::from_secs(1);

/// For how long attempts that end at once are made one after the other, before others have a turn
/// of the runtime.
const AT_ONCE_FOR: Duration = Duration::from_millis(4);

/// Does the tasks of one worker.
pub(super) struct TaskLoop {
    writer: ResultWriter,
    processing: Processing,
    worker_id: Uuid,
    /// Notified after each commit that sold something.
    sold: Arc<Notify>,
    claim_ids: IdGenerator,
    /// For each attempt that runs.
    permits: Arc<Semaphore>,
    /// For each task that was claimed, until its result is written: results that wait are bounded.
    places: Arc<Semaphore>,
    pace: Arc<Pace>,
}

/// The end of the loop that claims.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Stopped,
    NothingIsDue,
}

/// Tasks that were claimed.
struct Taken {
    claimed: Vec<Claimed>,
    /// A moment before that.
    since: Instant,
    /// The permit and the place of the first of them.
    first: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl TaskLoop {
    pub(super) fn new(
        store: Arc<dyn TaskStore>,
        clock: Arc<dyn Clock>,
        processing: Processing,
        worker_id: Uuid,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let concurrency = concurrency(&processing);
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
            permits: Arc::new(Semaphore::new(concurrency)),
            places: Arc::new(Semaphore::new(places(concurrency))),
            pace: Arc::new(Pace::new(concurrency)),
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
        let places = places(concurrency(&self.processing));
        let (reports, ended) = mpsc::channel(places);
        let (set_aside, locked) = mpsc::channel(places);
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
        let mut not_before = Instant::now();
        let mut next = self.next(heartbeat, stop, until, &mut not_before).await;
        while let Some(taken) = next {
            // The next claim waits for the database, while attempts that end at once do not.
            let claims_meanwhile = self.pace.is_instant();
            let begin = self.begin(taken, &reports, stop);
            next = if claims_meanwhile {
                let next = self.next(heartbeat, stop, until, &mut not_before);
                join(begin, next).await.1
            } else {
                begin.await;
                None
            };
            // Also when nothing was due meanwhile: what could not begin was given back since.
            if next.is_none() {
                next = self.next(heartbeat, stop, until, &mut not_before).await;
            }
        }
    }

    /// Claims, again and again until there is something; none at the end. After a claim that took all
    /// that was due, the next one is `not_before` a while.
    async fn next(
        &self,
        heartbeat: &HeartbeatSender,
        stop: &CancellationToken,
        until: Until,
        not_before: &mut Instant,
    ) -> Option<Taken> {
        while !stop.is_cancelled() {
            let ready = async {
                sleep_until(*not_before).await;
                let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
                let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
                heartbeat.opened(Topic::Process).await;
                Some((permit, place))
            };
            let first = stop.run_until_cancelled(ready).await??;
            // What made room may have come after the end.
            if stop.is_cancelled() {
                return None;
            }
            // The lease begins in the database after this, and so does not end before it.
            let since = Instant::now();
            let claim = self.next_claim(until);
            let claimed = self.claim(&claim).await;
            let is_all = claimed
                .as_ref()
                .is_ok_and(|tasks| took_all(tasks.len(), claim.max));
            if is_all && until == Until::Stopped {
                *not_before = since + CLAIM_EVERY;
            }
            let pause = match claimed {
                Ok(claimed) if claimed.is_empty() && until == Until::NothingIsDue => return None,
                Ok(claimed) if claimed.is_empty() => self.processing.options.idle_poll,
                Ok(claimed) => {
                    return Some(Taken {
                        claimed,
                        since,
                        first,
                    });
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no tasks claimed");
                    FAILURE_PAUSE
                }
            };
            drop(first);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.sold.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        None
    }

    /// One task for the permit that was taken, and one for each that is free besides; and as many as
    /// will begin soon, when they were packed together.
    fn next_claim(&self, until: Until) -> Claim {
        let delay = match until {
            Until::Stopped => self.processing.options.delay,
            Until::NothingIsDue => Duration::ZERO,
        };
        let places = self.places.available_permits() + 1;
        Claim {
            id: self.claim_ids.next(self.writer.clock.now()),
            worker_id: self.worker_id,
            max: places.min(self.permits.available_permits() + 1),
            ahead: places.min(self.pace.ahead()),
            delay,
            lease: self.processing.options.lease(),
        }
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let claimed = catch(part::TASKS, self.writer.store.claim_tasks(claim)).await;
        claimed.unwrap_or_else(|panic| Err(Error::backend(panic)))
    }

    /// Begins the attempts at what was claimed, as permits come. What cannot begin soon, or before
    /// the end, is given back.
    async fn begin(&self, taken: Taken, reports: &mpsc::Sender<Report>, stop: &CancellationToken) {
        let Taken {
            claimed,
            since,
            first: (first, place),
        } = taken;
        self.writer.counters.tasks_came(claimed.len());
        metrics::tasks_came(claimed.len());
        // The next claim begins after this, and nobody else takes places, so that each is there.
        let further =
            (1..claimed.len()).map_while(|_| Arc::clone(&self.places).try_acquire_owned().ok());
        let places = std::iter::once(place).chain(further).collect::<Vec<_>>();
        let (mut first, mut turn) = (Some(first), Instant::now());
        let mut claimed = claimed.into_iter().zip(places).peekable();
        while let Some((next, place)) = claimed.next() {
            if turn.elapsed() >= AT_ONCE_FOR {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
            let permit = match first.take() {
                Some(permit) => Some(permit),
                None => self.permit(since, stop).await,
            };
            let Some(mut permit) = permit else {
                let outcome = AttemptOutcome::NotBegun;
                let result = next.result(self.worker_id, Duration::ZERO, outcome);
                let _ = reports.send((result, place)).await;
                continue;
            };
            let mut together = vec![(next, place)];
            self.add_to(&mut together, &mut claimed, &mut permit);
            let (tasks, places): (Vec<_>, Vec<_>) = together.into_iter().unzip();
            let mut attempt = begin(tasks, since, self.processing.clone(), self.worker_id);
            match self.at_once(&mut attempt) {
                Some(results) => {
                    // Each has its place in the channel, as all reports do.
                    for report in results.into_iter().zip(places) {
                        let _ = reports.try_send(report);
                    }
                    first = permit.split(1);
                }
                None => self.spawn(attempt, permit, places, reports.clone()),
            }
        }
    }

    /// Adds to a task those after it whose attempts are made together with its own, as many as may
    /// run: it waits for no permit.
    fn add_to(
        &self,
        together: &mut Vec<(Claimed, OwnedSemaphorePermit)>,
        claimed: &mut Peekable<impl Iterator<Item = (Claimed, OwnedSemaphorePermit)>>,
        permit: &mut OwnedSemaphorePermit,
    ) {
        let goes_together = |task: Option<&(Claimed, _)>| {
            task.is_some_and(|(task, _)| goes_together(task, &self.processing))
        };
        let most = self.processing.processor.max_batch();
        while goes_together(together.first())
            && together.len() < most
            && goes_together(claimed.peek())
            && let Ok(further) = Arc::clone(&self.permits).try_acquire_owned()
        {
            permit.merge(further);
            together.extend(claimed.next());
        }
    }

    /// The results of an attempt that ends at once, when attempts do: a task of the runtime would
    /// wait for its turn there, longer than it takes.
    fn at_once(&self, attempt: &mut Attempt) -> Option<Vec<AttemptResult>> {
        if !self.pace.is_instant() {
            return None;
        }
        let results = attempt.now_or_never()?;
        self.pace.ended(&results);
        Some(results)
    }

    /// Has an attempt made by a task of its own.
    fn spawn(
        &self,
        attempt: Attempt,
        permit: OwnedSemaphorePermit,
        places: Vec<OwnedSemaphorePermit>,
        reports: mpsc::Sender<Report>,
    ) {
        let pace = Arc::clone(&self.pace);
        tokio::spawn(async move {
            let results = attempt.await;
            pace.ended(&results);
            drop(permit);
            // Each report has its place in the channel, whose reader stays until the last
            // one has come.
            for report in results.into_iter().zip(places) {
                let _ = reports.send(report).await;
            }
        });
    }

    /// A permit for one more attempt of a claim that was made after `since`; none when it does not
    /// come soon, or the worker is to stop.
    async fn permit(
        &self,
        since: Instant,
        stop: &CancellationToken,
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = sleep_until(since + BEGIN_WITHIN) => None,
        }
    }
}

/// Tells whether a claim of at most `max` tasks that gave so many took all that was due.
fn took_all(tasks: usize, max: usize) -> bool {
    tasks < max.min(MAY_BE_MORE)
}

/// The most attempts that may run at once.
fn concurrency(processing: &Processing) -> usize {
    let wanted = processing.options.concurrency;
    wanted.clamp(1, Semaphore::MAX_PERMITS - 2 * MOST_AHEAD)
}

/// The most tasks that may be claimed and not written: as many as may run, those that wait for
/// them, and those whose results are being written.
const fn places(concurrency: usize) -> usize {
    concurrency + 2 * MOST_AHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not by how many may run: with a thousand, each claim of a backlog would seem to be the last.
    #[test]
    fn a_claim_took_all_when_it_is_small() {
        for (tasks, max, is_all) in [
            (0, 1, true),
            (1, 1, false),
            (63, 64, true),
            (64, 64, false),
            (63, 1_000, true),
            (256, 1_000, false),
        ] {
            assert_eq!(took_all(tasks, max), is_all, "{tasks} of {max}");
        }
    }
}
