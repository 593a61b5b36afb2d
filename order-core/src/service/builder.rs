//! Putting a service together.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::{
    OrderService,
    admission::{AdmissionControl, Limits},
    confirmations,
    group_commit::GroupCommit,
    inner::ServiceInner,
    shop_stats::LatestStats,
};
use crate::{
    cache::{CachedStore, ProductCache},
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderMode},
    process::ProcessOptions,
    queue::OrderQueue,
    store::{OrderStore, ProductStore, Store, Strategy},
    watch::{Orders, Products, Watcher},
    worker::Compaction,
};

/// Puts an [`OrderService`] together.
pub struct Builder {
    inner: ServiceInner,
    limits: Limits,
    max_watched: usize,
    compacts: bool,
}

impl OrderService {
    /// A service over `store`, whose schema is migrated.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder {
            inner: ServiceInner {
                products: Arc::clone(&store) as Arc<dyn ProductStore>,
                orders: Arc::clone(&store) as Arc<dyn OrderStore>,
                store,
                cached: None,
                queue: None,
                clock: Arc::new(SystemClock),
                ids: IdGenerator::default(),
                strategy: Strategy::default(),
                process_delay: ProcessOptions::default().delay,
                background: TaskTracker::new(),
                accepted: Arc::new(Notify::new()),
                sold: Arc::new(Notify::new()),
                latest_stats: LatestStats::default(),
            },
            limits: Limits {
                max_waiting: 10_000,
                max_wait: Duration::from_millis(500),
            },
            max_watched: 10_000,
            compacts: true,
        }
    }
}

impl Builder {
    /// Sets the way in which concurrent orders are kept apart; [`Strategy::Batch`] by default.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.inner.strategy = strategy;
        self
    }

    /// Offers accepted orders to workers on `queue`. Without one, the database is the queue:
    /// workers find pending orders there.
    #[must_use]
    pub fn queue(mut self, queue: Arc<dyn OrderQueue>) -> Self {
        self.inner.queue = Some(queue);
        self
    }

    /// Reads products through a cache, which gets every change that is made through this service
    /// and its workers. Without one, reads go to the database.
    #[must_use]
    pub fn cache(mut self, cache: Arc<dyn ProductCache>) -> Self {
        let cached = Arc::new(CachedStore::new(Arc::clone(&self.inner.store), cache));
        self.inner.products = Arc::clone(&cached) as Arc<dyn ProductStore>;
        self.inner.orders = Arc::clone(&cached) as Arc<dyn OrderStore>;
        self.inner.cached = Some(cached);
        self
    }

    /// Sets the clock; the machine's by default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.inner.clock = clock;
        self
    }

    /// Tells how long after a sale the workers claim its task ([`ProcessOptions::delay`]), so that what
    /// waits for that is not taken for a backlog; none by default.
    #[must_use]
    pub fn process_delay(mut self, delay: Duration) -> Self {
        self.inner.process_delay = delay;
        self
    }

    /// Limits the requests that may wait for their group, each way, before more are refused as
    /// [`Error::Overloaded`](crate::Error::Overloaded); 10 000 by default.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.limits.max_waiting = requests;
        self
    }

    /// Limits the estimated wait of a request until its group is committed: one whose estimate is
    /// above is refused at once as [`Error::Overloaded`](crate::Error::Overloaded); 500 ms by
    /// default.
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.limits.max_wait = wait;
        self
    }

    /// Limits the orders, and the products, that may be watched at once before more are refused as
    /// [`Error::Overloaded`](crate::Error::Overloaded); 10 000 of each by default.
    #[must_use]
    pub fn max_watched(mut self, most: usize) -> Self {
        self.max_watched = most;
        self
    }

    /// Leaves the counters to the other processes on the database: for one that only reads, or is
    /// measured. Its workers compact while they run.
    #[must_use]
    pub fn without_compaction(mut self) -> Self {
        self.compacts = false;
        self
    }

    /// The service. Must be called within a Tokio runtime, which runs its groups, and compacts the
    /// counters of the store every five seconds until the last clone and the last worker of the
    /// service are gone: they grow with each transaction, and reading them would slow down.
    #[must_use]
    pub fn build(self) -> OrderService {
        let inner = Arc::new(self.inner);
        let compacts = self.compacts;
        let compaction = compacts.then(|| {
            let (orders, clock) = (Arc::clone(&inner.orders), Arc::clone(&inner.clock));
            Compaction::start(Arc::clone(&inner.store), orders, clock)
        });
        OrderService {
            accepts: GroupCommit::start(Arc::clone(&inner), OrderMode::Accept, self.limits),
            purchases: GroupCommit::start(Arc::clone(&inner), OrderMode::Purchase, self.limits),
            confirmations: confirmations::start(Arc::clone(&inner), self.limits),
            admission: AdmissionControl::new(self.limits, 1),
            watcher: Watcher::new(Orders(Arc::clone(&inner.orders)), self.max_watched),
            product_watcher: Watcher::new(Products(Arc::clone(&inner.products)), self.max_watched),
            sampler: Arc::default(),
            compaction: compaction.map(Arc::new),
            inner,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("strategy", &self.inner.strategy)
            .field("limits", &self.limits)
            .field("max_watched", &self.max_watched)
            .finish_non_exhaustive()
    }
}
