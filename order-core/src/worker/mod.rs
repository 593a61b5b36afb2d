//! The worker: decides what was accepted, and does what follows a sale, until it is told to
//! stop.
//!
//! Any number of workers, in any number of processes, share the work without a leader: they
//! skip each other's claims. Stopping is graceful: the batch in hand is finished first, and
//! tasks under way get as long as they may take.

mod housekeeper;
mod pulse;
mod registry;
mod source;
mod sweeper;
mod tally;
mod tasks;

use std::{sync::Arc, time::Duration};

use futures_util::future::{join_all, try_join_all};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::housekeeper::Housekeeper;
use self::{pulse::Pulse, source::Source, sweeper::Sweeper, tally::Tally, tasks::Tasks};
use crate::{
    clock::Clock,
    domain::IdGenerator,
    error::Error,
    process::Processing,
    queue::{OrderQueue, Topic},
    store::{Store, Strategy},
    supervise::{self, supervise},
};

pub(crate) use registry::REMEMBERED;
pub use registry::{Counts, DEAD_AFTER, Heartbeat, KnownWorker, WorkerState, WorkerStore};

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerOptions {
    /// How concurrent orders are kept apart.
    pub strategy: Strategy,
    /// The most orders to decide in one transaction.
    pub batch_orders: usize,
    /// How many transactions may be under way at once while the database is the queue: one
    /// claims its orders while another writes. They have their turns in the order of their
    /// claims, and only a backlog of more than one batch brings the second one up.
    pub lanes: usize,
    /// How long to wait, when there was nothing to do, before looking again.
    pub idle_poll: Duration,
    /// How long a claim on a queue holds before others may take it over.
    pub lease: Duration,
    /// How often the sweeper looks for orders that a queue lost.
    pub sweep_interval: Duration,
    /// How long an order may be pending before the sweeper offers it again.
    pub sweep_age: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            batch_orders: 1_000,
            lanes: 2,
            idle_poll: Duration::from_millis(50),
            lease: Duration::from_secs(30),
            sweep_interval: Duration::from_secs(1),
            sweep_age: Duration::from_secs(4),
        }
    }
}

/// The shortest pause that is one.
const SHORTEST: Duration = Duration::from_millis(1);

impl WorkerOptions {
    /// The same, within what a worker can do.
    fn bounded(self) -> Self {
        Self {
            batch_orders: self.batch_orders.max(1),
            idle_poll: self.idle_poll.max(SHORTEST),
            sweep_interval: self.sweep_interval.max(SHORTEST),
            ..self
        }
    }
}

/// How long who empties the queue waits for a product that somebody holds locked.
const CONTENTION_LIMIT: Duration = Duration::from_secs(10);

/// How many orders were decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Decided {
    /// Orders that got their stock.
    pub sold: u64,
    /// Orders that failed.
    pub failed: u64,
}

impl std::ops::AddAssign for Decided {
    fn add_assign(&mut self, more: Self) {
        self.sold += more.sold;
        self.failed += more.failed;
    }
}

impl std::iter::Sum for Decided {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, more| {
            sum += more;
            sum
        })
    }
}

impl Decided {
    /// Both together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.sold + self.failed
    }
}

/// What one look at the work came to.
#[derive(Clone, Copy, Debug)]
struct Step {
    decided: Decided,
    /// Whether nothing was there to do.
    idle: bool,
    /// Whether there may be more than was taken on.
    full: bool,
}

/// How long a step may take once the worker is told to stop: an attempt at the database, and a
/// little more.
const LAST_STEP: Duration = Duration::from_secs(8);

/// Decides pending orders, and does tasks if it has a processor.
pub struct Worker {
    pulse: Pulse,
    source: Source,
    tasks: Option<Tasks>,
    sweeper: Option<Sweeper>,
    housekeeper: Housekeeper,
    parts: Parts,
    options: WorkerOptions,
    wake: Arc<Notify>,
    /// Tells the further lanes that one is not enough.
    more: Notify,
}

/// What a part of the worker is made of.
struct Parts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    id: Uuid,
    tally: Arc<Tally>,
}

impl Worker {
    /// A worker over `store`. With a `queue` it works on what is offered there, and sweeps;
    /// without, the database is the queue.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        queue: Option<Arc<dyn OrderQueue>>,
        clock: Arc<dyn Clock>,
        options: WorkerOptions,
    ) -> Self {
        let options = options.bounded();
        let sweeper = queue
            .as_ref()
            .map(|queue| Sweeper::new(Arc::clone(&store), Arc::clone(queue), options));
        let parts = Parts {
            id: IdGenerator::default().next(clock.now()),
            tally: Arc::default(),
            store,
            clock,
        };
        let (store, clock) = (Arc::clone(&parts.store), Arc::clone(&parts.clock));
        let tally = Arc::clone(&parts.tally);
        Self {
            housekeeper: Housekeeper::new(Arc::clone(&store)),
            pulse: Pulse::new(Arc::clone(&store), parts.id, Arc::clone(&tally)),
            source: Source::new(store, queue, clock, options, tally),
            tasks: None,
            sweeper,
            parts,
            options,
            wake: Arc::new(Notify::new()),
            more: Notify::new(),
        }
    }

    /// Does what follows a sale, too.
    #[must_use]
    pub fn processing(mut self, processing: Processing) -> Self {
        let parts = &self.parts;
        let mut tasks = Tasks::new(
            Arc::clone(&parts.store),
            Arc::clone(&parts.clock),
            processing,
            parts.id,
            Arc::clone(&parts.tally),
        );
        tasks.watcher = self.source.watcher();
        tasks.sold = self.source.sold();
        self.tasks = Some(tasks);
        self
    }

    /// Looks for work at once when told, instead of at the next poll.
    #[must_use]
    pub fn woken_by(mut self, wake: Arc<Notify>) -> Self {
        self.wake = wake;
        self
    }

    /// Tells whoever follows orders after each batch that was decided, and each group of
    /// tasks that were done.
    #[must_use]
    pub fn waking(mut self, watcher: Arc<Notify>) -> Self {
        if let Some(tasks) = &mut self.tasks {
            tasks.watcher = Arc::clone(&watcher);
        }
        self.source.wake_after_decisions(watcher);
        self
    }

    /// Looks for tasks at once when told that something was sold, instead of at the next poll.
    #[must_use]
    pub fn woken_by_sales(mut self, sold: Arc<Notify>) -> Self {
        if let Some(tasks) = &mut self.tasks {
            tasks.sold = Arc::clone(&sold);
        }
        self.source.wake_after_sales(sold);
        self
    }

    /// Works until `stop` is cancelled; the batch in hand is finished, and so are the tasks
    /// under way. What a silent database holds up is cut off after eight seconds, and what it
    /// was about to decide is decided by others.
    pub async fn run(&self, stop: CancellationToken) -> Decided {
        let (topics, end) = (self.topics(), CancellationToken::new());
        let before = self.decided();
        let sweep = supervise(supervise::SWEEP, || async {
            if let Some(sweeper) = &self.sweeper {
                sweeper.run(&stop).await;
            }
        });
        let process = supervise(supervise::TASKS, || async {
            if let Some(tasks) = &self.tasks {
                let limit = tasks.processing.options.timeout + LAST_STEP;
                in_time(&stop, limit, tasks.run(&self.pulse, &stop)).await;
            }
        });
        let fold = supervise(supervise::HOUSEKEEPING, || self.housekeeper.run(&stop));
        let work = async {
            tokio::join!(
                in_time(&stop, LAST_STEP, self.decide_until(&stop)),
                in_time(&stop, LAST_STEP, sweep),
                process,
                in_time(&stop, LAST_STEP, fold)
            );
            end.cancel();
        };
        let tell = supervise(supervise::HEARTBEAT, || self.pulse.run(&topics, &end));
        tokio::join!(work, tell);
        let after = self.decided();
        Decided {
            sold: after.sold - before.sold,
            failed: after.failed - before.failed,
        }
    }

    /// What was decided since this worker was made.
    fn decided(&self) -> Decided {
        let Counts { sold, failed, .. } = self.parts.tally.counts();
        Decided { sold, failed }
    }

    /// Works until nothing is left to do, or until `stop` is cancelled. Goes by the database,
    /// which knows of every order, wherever else they wait. Tasks that wait for their retry are
    /// left, and so is a topic that is paused.
    ///
    /// # Errors
    /// The first that persists: what is not decided by then stays pending.
    pub async fn drain(&self, stop: &CancellationToken) -> Result<Decided, Error> {
        let topics = self.topics();
        self.pulse.beat(&topics, false).await?;
        let mut decided = Decided::default();
        if self.pulse.is_open(Topic::Validate) {
            let lanes = (0..self.options.lanes.max(1)).map(|_| self.drain_lane(stop));
            decided = try_join_all(lanes).await?.into_iter().sum();
        }
        if let Some(tasks) = &self.tasks
            && self.pulse.is_open(Topic::Process)
        {
            tasks.drain(&self.pulse, stop).await;
        }
        self.pulse.beat(&topics, true).await?;
        Ok(decided)
    }

    fn topics(&self) -> Vec<Topic> {
        let process = self.tasks.is_some().then_some(Topic::Process);
        std::iter::once(Topic::Validate).chain(process).collect()
    }

    async fn drain_lane(&self, stop: &CancellationToken) -> Result<Decided, Error> {
        let mut decided = Decided::default();
        while !stop.is_cancelled() {
            let step = self.source.decide_oldest().await?;
            decided += step.decided;
            if step.idle && !self.contention_ends(stop).await? {
                break;
            }
        }
        Ok(decided)
    }

    /// Waits until a product can be locked again whose orders were left out; false when there is
    /// none.
    ///
    /// # Errors
    /// [`Error::ProductContended`] when that takes too long.
    async fn contention_ends(&self, stop: &CancellationToken) -> Result<bool, Error> {
        let Some(contention) = self.parts.store.contention() else {
            return Ok(false);
        };
        let mut ends = contention.ends();
        let Some(product_id) = contention.any() else {
            return Ok(false);
        };
        let ended = timeout(CONTENTION_LIMIT, ends.changed());
        match stop.run_until_cancelled(ended).await {
            Some(Err(_)) => Err(Error::ProductContended { product_id }),
            _ => Ok(true),
        }
    }

    /// Each lane goes on when another panics.
    async fn decide_until(&self, stop: &CancellationToken) {
        let first = supervise(supervise::DECIDE, || self.first_lane(stop));
        let further = (1..self.source.lanes())
            .map(|_| supervise(supervise::DECIDE, move || self.further_lane(stop)));
        tokio::join!(first, join_all(further));
        let finished = supervise(supervise::DECIDE, || self.source.finish());
        // Others take over what is left.
        if let Err(error) = finished.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "not all was finished");
        }
    }

    /// Waits until there is no pause; false once `stop` is cancelled.
    async fn may_decide(&self, stop: &CancellationToken) -> bool {
        let opened = self.pulse.opened(Topic::Validate);
        stop.run_until_cancelled(opened).await.is_some() && !stop.is_cancelled()
    }

    async fn first_lane(&self, stop: &CancellationToken) {
        while self.may_decide(stop).await {
            let start = Instant::now();
            let pause = match self.source.step().await {
                Ok(step) => {
                    if step.full {
                        self.more.notify_waiters();
                    }
                    if !step.idle {
                        continue;
                    }
                    // A queue that can wait has waited already.
                    self.options.idle_poll.saturating_sub(start.elapsed())
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "deciding failed");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Works as long as there is more than one batch, and waits until there is.
    async fn further_lane(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.more.notified() => {}
            }
            // What goes wrong goes wrong in the first lane, too, which tells and waits.
            while let Ok(step) = self.source.step().await {
                if !step.full || stop.is_cancelled() || !self.pulse.is_open(Topic::Validate) {
                    break;
                }
            }
        }
    }
}

/// Waits until `work` ends; once it is told to stop, for up to `limit`.
async fn in_time(stop: &CancellationToken, limit: Duration, work: impl Future<Output = ()>) {
    let too_late = async {
        stop.cancelled().await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        () = work => {}
        () = too_late => tracing::warn!("the worker ends before its last step has"),
    }
}
