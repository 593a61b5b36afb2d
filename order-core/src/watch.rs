//! Following orders live: whoever watches an order learns of each state that it comes to,
//! whichever process decides.
//!
//! One task asks the database about all watched orders at once, every `TICK`, and while
//! nobody watches there is no task. So following costs the same few queries a second for one
//! order as for a thousand. What this process decides itself wakes the task at once.
//!
//! Nothing is lost between looks, nor between a read and the start of a watch: what is handed
//! on is not an event but where the order stands, which tells all of its way
//! ([`Progress::stages`]), and a watch looks at what is known before it waits for more.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    store::Store,
    supervise::{self, supervise},
};

/// How often the database is asked.
const TICK: Duration = Duration::from_millis(100);
/// The least time between two looks, however often the task is woken.
const GAP: Duration = Duration::from_millis(20);
/// The most orders that one query asks for.
const QUERY_ORDERS: usize = 1_000;

/// What is being watched.
#[derive(Default)]
struct Board {
    orders: HashMap<OrderId, watch::Sender<Option<Progress>>>,
    task: Option<JoinHandle<()>>,
}

struct Shared {
    store: Arc<dyn Store>,
    max_orders: usize,
    wake: Arc<Notify>,
    queries: AtomicU64,
    board: Mutex<Board>,
}

/// How much is being watched, and at what cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchStats {
    /// Orders that somebody watches. Who stops watching is forgotten with the next look.
    pub orders: usize,
    /// Queries that were made for them since the process started.
    pub queries: u64,
}

/// Where the watchers of a process meet.
#[derive(Clone)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
}

impl Watcher {
    pub(crate) fn new(store: Arc<dyn Store>, max_orders: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                max_orders,
                wake: Arc::default(),
                queries: AtomicU64::default(),
                board: Mutex::default(),
            }),
        }
    }

    /// To be notified when orders changed in this process: they are looked at at once.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.wake)
    }

    pub(crate) fn stats(&self) -> WatchStats {
        WatchStats {
            orders: self.shared.board().orders.len(),
            queries: self.shared.queries.load(Ordering::Relaxed),
        }
    }

    /// Watches an order, from now on until the watch is dropped.
    pub(crate) fn watch(&self, id: OrderId) -> Result<Watch, Error> {
        let mut board = self.shared.board();
        let is_full = board.orders.len() >= self.shared.max_orders;
        let known = match board.orders.entry(id) {
            Entry::Occupied(known) => known.get().subscribe(),
            Entry::Vacant(_) if is_full => return Err(Error::Overloaded),
            Entry::Vacant(free) => free.insert(watch::Sender::new(None)).subscribe(),
        };
        if board.task.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = Arc::clone(&self.shared);
            let look_on = move || Arc::clone(&shared).look_on();
            board.task = Some(tokio::spawn(supervise(supervise::WATCH, look_on)));
        }
        self.shared.wake.notify_one();
        Ok(Watch { known })
    }
}

impl Shared {
    /// Looks again and again, as long as somebody watches, and rests as long as it looked: a
    /// connection is never taken up by this alone. A look that hung is not waited for again.
    async fn look_on(self: Arc<Self>) {
        while let Some(ids) = self.watched() {
            let start = Instant::now();
            self.look(&ids).await;
            let took = start.elapsed();
            sleep(took.clamp(GAP, TICK)).await;
            let _ = timeout(TICK.saturating_sub(GAP), self.wake.notified()).await;
        }
    }

    /// The orders that somebody watches; with none, the task is over. Both are found out
    /// under the lock, so that whoever watches next starts another.
    fn watched(&self) -> Option<Vec<OrderId>> {
        let mut board = self.board();
        board.orders.retain(|_, known| !known.is_closed());
        if board.orders.is_empty() {
            board.task = None;
            return None;
        }
        Some(board.orders.keys().copied().collect())
    }

    /// Asks where the orders stand. Those that it cannot find out about now wait for the next
    /// look.
    async fn look(&self, ids: &[OrderId]) {
        for ids in ids.chunks(QUERY_ORDERS) {
            self.queries.fetch_add(1, Ordering::Relaxed);
            match self.store.progress(ids).await {
                Ok(found) => self.tell(&found),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, orders = ids.len(), "watched orders were not read");
                }
            }
        }
    }

    fn tell(&self, found: &[Progress]) {
        let board = self.board();
        for progress in found {
            if let Some(known) = board.orders.get(&progress.id) {
                known.send_if_modified(|known| known.replace(*progress) != Some(*progress));
            }
        }
    }

    /// The board is whole between any two statements: a poisoned lock is still good.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits for states that the order comes to after `told`; gives all of them, oldest first.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn since(&mut self, told: OrderStatus) -> Result<(Progress, Vec<Stage>), Error> {
        let order = self.until(|order| !order.since(told).is_empty()).await?;
        Ok((order, order.since(told)))
    }

    async fn until(&mut self, is_enough: impl Fn(&Progress) -> bool) -> Result<Progress, Error> {
        let known = self
            .known
            .wait_for(|known| known.as_ref().is_some_and(&is_enough))
            .await;
        known.ok().and_then(|known| *known).ok_or(Error::Stopping)
    }
}
