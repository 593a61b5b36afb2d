//! Following orders live: a watch of an order sees each state that it comes to, whichever process
//! decides.
//!
//! One task polls the database about all watched orders at once, every `TICK`, and while
//! nobody watches there is no task. So following costs the same few queries a second for one
//! order as for a thousand. Decisions of this process wake the task at once.
//!
//! Nothing is lost between polls, nor between a read and the start of a watch: a watch gets no
//! events but the progress of its order, which tells all of its way ([`Progress::stages`]), and it
//! looks at the progress that is known before it waits for more.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    domain::{OrderId, OrderStatus, Progress, Stage},
    error::Error,
    metrics::part,
    store::OrderStore,
    supervise::supervise,
    sync::lock,
};

/// The time between two polls.
const TICK: Duration = Duration::from_millis(100);
/// The least time between two polls, however often the task is woken.
const GAP: Duration = Duration::from_millis(20);
/// The most orders that one query asks for.
const QUERY_ORDERS: usize = 1_000;

/// The orders that are watched, each with the last progress that was seen, and the task that polls.
#[derive(Default)]
struct Subscriptions {
    orders: HashMap<OrderId, watch::Sender<Option<Progress>>>,
    task: Option<JoinHandle<()>>,
}

struct Shared {
    store: Arc<dyn OrderStore>,
    max_orders: usize,
    wake: Arc<Notify>,
    queries: AtomicU64,
    subscriptions: Mutex<Subscriptions>,
}

/// The number of watched orders, and the queries that they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchStats {
    /// Orders that are watched. A watch that was dropped counts until the next poll.
    pub orders: usize,
    /// Queries that were made for them since the process started.
    pub queries: u64,
}

/// The watches of a process.
#[derive(Clone)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
}

impl Watcher {
    pub(crate) fn new(store: Arc<dyn OrderStore>, max_orders: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                max_orders,
                wake: Arc::default(),
                queries: AtomicU64::default(),
                subscriptions: Mutex::default(),
            }),
        }
    }

    /// The handle to notify when orders changed in this process: they are polled at once.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.wake)
    }

    pub(crate) fn stats(&self) -> WatchStats {
        WatchStats {
            orders: self.shared.subscriptions().orders.len(),
            queries: self.shared.queries.load(Ordering::Relaxed),
        }
    }

    /// Watches an order, from now on until the watch is dropped.
    pub(crate) fn watch(&self, id: OrderId) -> Result<Watch, Error> {
        let mut subscriptions = self.shared.subscriptions();
        let is_full = subscriptions.orders.len() >= self.shared.max_orders;
        let known = match subscriptions.orders.entry(id) {
            Entry::Occupied(known) => known.get().subscribe(),
            Entry::Vacant(_) if is_full => return Err(Error::Overloaded),
            Entry::Vacant(free) => free.insert(watch::Sender::new(None)).subscribe(),
        };
        let task = subscriptions.task.as_ref();
        if task.is_none_or(JoinHandle::is_finished) {
            let shared = Arc::clone(&self.shared);
            let poll = move || Arc::clone(&shared).poll();
            subscriptions.task = Some(tokio::spawn(supervise(part::WATCH, poll)));
        }
        self.shared.wake.notify_one();
        Ok(Watch { known })
    }
}

impl Shared {
    /// Polls as long as somebody watches, and rests as long as a query took: a connection is never
    /// taken up by this alone. A query that hung is not waited for again.
    async fn poll(self: Arc<Self>) {
        while let Some(ids) = self.watched() {
            let start = Instant::now();
            self.query(&ids).await;
            let took = start.elapsed();
            sleep(took.clamp(GAP, TICK)).await;
            let _ = timeout(TICK.saturating_sub(GAP), self.wake.notified()).await;
        }
    }

    /// The orders that are watched; with none, the task is over. Both are found out under the lock,
    /// so that the next watch starts another.
    fn watched(&self) -> Option<Vec<OrderId>> {
        let mut subscriptions = self.subscriptions();
        subscriptions.orders.retain(|_, known| !known.is_closed());
        if subscriptions.orders.is_empty() {
            subscriptions.task = None;
            return None;
        }
        Some(subscriptions.orders.keys().copied().collect())
    }

    /// Reads the progress of the orders. Those that cannot be read now wait for the next poll.
    async fn query(&self, ids: &[OrderId]) {
        for ids in ids.chunks(QUERY_ORDERS) {
            self.queries.fetch_add(1, Ordering::Relaxed);
            match self.store.progress(ids).await {
                Ok(found) => self.publish(&found),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, orders = ids.len(), "watched orders were not read");
                }
            }
        }
    }

    fn publish(&self, found: &[Progress]) {
        let subscriptions = self.subscriptions();
        for progress in found {
            if let Some(known) = subscriptions.orders.get(&progress.id) {
                known.send_if_modified(|known| known.replace(*progress) != Some(*progress));
            }
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, Subscriptions> {
        lock(&self.subscriptions)
    }
}

/// An order that is being watched, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    known: watch::Receiver<Option<Progress>>,
}

impl Watch {
    /// Waits until the order is decided or cancelled. An order that does not exist never is.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn decided(&mut self) -> Result<Progress, Error> {
        self.until(|order| order.status != OrderStatus::Pending)
            .await
    }

    /// Waits for states that the order comes to after `known`; gives all of them, oldest first.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn since(&mut self, known: OrderStatus) -> Result<(Progress, Vec<Stage>), Error> {
        let order = self.until(|order| !order.since(known).is_empty()).await?;
        Ok((order, order.since(known)))
    }

    async fn until(
        &mut self,
        is_enough: impl Fn(&Progress) -> bool + Send + Sync,
    ) -> Result<Progress, Error> {
        let known = self
            .known
            .wait_for(|known| known.as_ref().is_some_and(&is_enough))
            .await;
        known.ok().and_then(|known| *known).ok_or(Error::Stopping)
    }
}
