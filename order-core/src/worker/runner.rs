//! The worker: its parts, and how long they run.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    DecisionCounts, WorkerOptions, batch_source::BatchSource, compactor::Compaction,
    counters::WorkerCounters, decide_loop::DecideLoop, heartbeat::HeartbeatSender,
    sweeper::Sweeper, task_loop::TaskLoop,
};
use crate::{
    clock::Clock,
    domain::IdGenerator,
    error::Error,
    metrics::part,
    process::Processing,
    queue::{OrderQueue, Topic},
    store::{OrderStore, Store},
    supervise::supervise,
};

/// The longest that a worker that empties the queue waits for a product that somebody holds locked.
const CONTENTION_LIMIT: Duration = Duration::from_secs(10);
/// The longest that a step may take once the worker is told to stop: an attempt at the database,
/// and a little more.
const LAST_STEP: Duration = Duration::from_secs(8);

/// Decides pending orders, and does tasks if it has a processor.
pub struct Worker {
    heartbeat: HeartbeatSender,
    source: BatchSource,
    tasks: Option<TaskLoop>,
    sweeper: Option<Sweeper>,
    /// That of the service that made the worker, which goes on as long as either is there. Without
    /// one, the worker compacts while it runs.
    compaction: Option<Arc<Compaction>>,
    parts: Parts,
    options: WorkerOptions,
    wake: Arc<Notify>,
}

/// The parts that tasks share with the rest of the worker.
struct Parts {
    store: Arc<dyn Store>,
    orders: Arc<dyn OrderStore>,
    clock: Arc<dyn Clock>,
    id: Uuid,
    counters: Arc<WorkerCounters>,
}

impl Worker {
    /// A worker over `store`. With a `queue` it works on orders that are offered there, and sweeps;
    /// without, the database is the queue.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        queue: Option<Arc<dyn OrderQueue>>,
        clock: Arc<dyn Clock>,
        options: WorkerOptions,
    ) -> Self {
        let orders = Arc::clone(&store) as Arc<dyn OrderStore>;
        Self::of_service(store, orders, queue, clock, options)
    }

    /// A worker that decides through `orders`.
    pub(crate) fn of_service(
        store: Arc<dyn Store>,
        orders: Arc<dyn OrderStore>,
        queue: Option<Arc<dyn OrderQueue>>,
        clock: Arc<dyn Clock>,
        options: WorkerOptions,
    ) -> Self {
        let options = options.bounded();
        let sweeper = queue
            .as_ref()
            .map(|queue| Sweeper::new(Arc::clone(&orders), Arc::clone(queue), options));
        let parts = Parts {
            id: IdGenerator::default().next(clock.now()),
            counters: Arc::default(),
            store,
            orders,
            clock,
        };
        let counters = &parts.counters;
        let heartbeats = Arc::clone(&parts.store).worker_store();
        Self {
            heartbeat: HeartbeatSender::new(heartbeats, parts.id, Arc::clone(counters)),
            source: BatchSource::new(
                Arc::clone(&parts.orders),
                queue,
                Arc::clone(&parts.clock),
                options,
                Arc::clone(counters),
            ),
            tasks: None,
            sweeper,
            compaction: None,
            parts,
            options,
            wake: Arc::new(Notify::new()),
        }
    }

    /// Does post-sale tasks, too. A store that keeps no tasks has none to do.
    #[must_use]
    pub fn processing(mut self, processing: Processing) -> Self {
        let parts = &self.parts;
        let Some(store) = Arc::clone(&parts.store).task_store() else {
            tracing::warn!("the store keeps no tasks: the worker does none");
            return self;
        };
        let mut tasks = TaskLoop::new(
            store,
            Arc::clone(&parts.clock),
            processing,
            parts.id,
            Arc::clone(&parts.counters),
        );
        tasks.wake_after_completions(self.source.watcher());
        tasks.woken_by_sales(self.source.sold());
        self.tasks = Some(tasks);
        self
    }

    /// Looks for work at once when notified, instead of at the next poll.
    #[must_use]
    pub fn woken_by(mut self, wake: Arc<Notify>) -> Self {
        self.wake = wake;
        self
    }

    /// Notifies the watches of orders after each batch that was decided, and each group of tasks
    /// that were done.
    #[must_use]
    pub fn waking(mut self, watcher: Arc<Notify>) -> Self {
        if let Some(tasks) = &mut self.tasks {
            tasks.wake_after_completions(Arc::clone(&watcher));
        }
        self.source.wake_after_decisions(watcher);
        self
    }

    /// Looks for tasks at once when notified of a sale, instead of at the next poll.
    #[must_use]
    pub fn woken_by_sales(mut self, sold: Arc<Notify>) -> Self {
        if let Some(tasks) = &mut self.tasks {
            tasks.woken_by_sales(Arc::clone(&sold));
        }
        self.source.wake_after_sales(sold);
        self
    }

    /// Keeps the compaction of a service going as long as the worker is there.
    pub(crate) fn keeping(mut self, compaction: Option<Arc<Compaction>>) -> Self {
        self.compaction = compaction;
        self
    }

    /// Works until `stop` is cancelled; the batch under way is finished, and so are the tasks. A
    /// step that a silent database holds up is cut off after eight seconds, and its orders are
    /// decided by others.
    pub async fn run(&self, stop: CancellationToken) -> DecisionCounts {
        let (topics, end) = (self.topics(), CancellationToken::new());
        let before = self.decided();
        let decide_loop = DecideLoop {
            source: &self.source,
            heartbeat: &self.heartbeat,
            wake: &self.wake,
            idle_poll: self.options.idle_poll,
            more: Notify::new(),
        };
        let sweep = supervise(part::SWEEP, || async {
            if let Some(sweeper) = &self.sweeper {
                sweeper.run(&stop).await;
            }
        });
        let process = supervise(part::TASKS, || async {
            if let Some(tasks) = &self.tasks {
                let limit = tasks.timeout() + LAST_STEP;
                in_time(&stop, limit, tasks.run(&self.heartbeat, &stop)).await;
            }
        });
        let is_alone = self.compaction.is_none();
        let _compaction = is_alone.then(|| {
            let parts = &self.parts;
            let (orders, clock) = (Arc::clone(&parts.orders), Arc::clone(&parts.clock));
            Compaction::start(Arc::clone(&parts.store), orders, clock)
        });
        let work = async {
            tokio::join!(
                in_time(&stop, LAST_STEP, decide_loop.run(&stop)),
                in_time(&stop, LAST_STEP, sweep),
                process
            );
            end.cancel();
        };
        let beat = supervise(part::HEARTBEAT, || self.heartbeat.run(&topics, &end));
        tokio::join!(work, beat);
        let after = self.decided();
        DecisionCounts {
            sold: after.sold - before.sold,
            held: after.held - before.held,
            failed: after.failed - before.failed,
        }
    }

    /// The decisions since this worker was made.
    fn decided(&self) -> DecisionCounts {
        self.parts.counters.decisions()
    }

    /// Works until nothing is left to do, or until `stop` is cancelled. Goes by the database,
    /// which knows of every order, wherever else they wait. Tasks that wait for their retry are
    /// left, and so is a topic that is paused.
    ///
    /// # Errors
    /// The first that persists: orders that are not decided by then stay pending.
    pub async fn drain(&self, stop: &CancellationToken) -> Result<DecisionCounts, Error> {
        let topics = self.topics();
        self.heartbeat.beat(&topics, false).await?;
        let mut decided = DecisionCounts::default();
        if self.heartbeat.is_open(Topic::Validate) {
            let batches = self.options.max_concurrent_batches.max(1);
            let loops = (0..batches).map(|_| self.drain_orders(stop));
            decided = try_join_all(loops).await?.into_iter().sum();
        }
        if let Some(tasks) = &self.tasks
            && self.heartbeat.is_open(Topic::Process)
        {
            tasks.drain(&self.heartbeat, stop).await;
        }
        self.heartbeat.beat(&topics, true).await?;
        Ok(decided)
    }

    fn topics(&self) -> Vec<Topic> {
        let process = self.tasks.is_some().then_some(Topic::Process);
        std::iter::once(Topic::Validate).chain(process).collect()
    }

    async fn drain_orders(&self, stop: &CancellationToken) -> Result<DecisionCounts, Error> {
        let mut decided = DecisionCounts::default();
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
        let Some(contention) = self.parts.orders.contention() else {
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
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("id", &self.parts.id)
            .field("topics", &self.topics())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Waits until `work` ends; once it is told to stop, for up to `limit`.
async fn in_time(stop: &CancellationToken, limit: Duration, work: impl Future<Output = ()>) {
    let too_late = async {
        stop.cancelled().await;
        sleep(limit).await;
    };
    tokio::select! {
        () = work => {}
        () = too_late => tracing::warn!("the worker ends before its last step has"),
    }
}
