//! The watches of a process: who watches what, and the one task that looks.
//!
//! The task polls the database about everything that is watched at once, every `TICK`, and while
//! nobody watches there is no task. So watching costs the same few queries a second for one
//! watcher as for thousands. Changes of this process may wake the task at once.
//!
//! Nothing is lost between polls, nor between a read and the start of a watch: a watch gets no
//! events but states, and it looks at the state that is known before it waits for another.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{error::Error, metrics::part, supervise::supervise, sync::lock};

/// The most that one query asks for.
const QUERY_IDS: usize = 1_000;

/// A kind of things that can be watched.
#[async_trait]
pub(crate) trait Subject: Send + Sync + 'static {
    type Id: Copy + Eq + Hash + Send + Sync + 'static;
    type State: Copy + PartialEq + Send + Sync + 'static;

    /// The time between two polls.
    const TICK: Duration;
    /// The least time between two polls, however often the task is woken.
    const GAP: Duration;

    /// The states of these, by one query; those that it does not tell of wait for the next poll.
    async fn look(&self, ids: &[Self::Id]) -> Result<Vec<(Self::Id, Self::State)>, Error>;
}

/// What is watched, each with the last state that was seen, and the task that polls.
struct Subscriptions<S: Subject> {
    watched: HashMap<S::Id, watch::Sender<Option<S::State>>>,
    task: Option<JoinHandle<()>>,
}

struct Shared<S: Subject> {
    subject: S,
    most: usize,
    wake: Arc<Notify>,
    queries: AtomicU64,
    subscriptions: Mutex<Subscriptions<S>>,
}

/// The watches of a process, of one kind of things.
pub(crate) struct Watcher<S: Subject> {
    shared: Arc<Shared<S>>,
}

impl<S: Subject> Clone for Watcher<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: Subject> Watcher<S> {
    /// Up to `most` may be watched at once.
    pub(crate) fn new(subject: S, most: usize) -> Self {
        let subscriptions = Mutex::new(Subscriptions {
            watched: HashMap::new(),
            task: None,
        });
        Self {
            shared: Arc::new(Shared {
                subject,
                most,
                wake: Arc::default(),
                queries: AtomicU64::default(),
                subscriptions,
            }),
        }
    }

    /// The handle to notify when something changed in this process: it is polled at once.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.wake)
    }

    /// How many are watched, and the queries that were made for them.
    pub(crate) fn stats(&self) -> (usize, u64) {
        (
            self.shared.subscriptions().watched.len(),
            self.shared.queries.load(Ordering::Relaxed),
        )
    }

    /// The states of `id` from now on, until the receiver is dropped; none is known before it was
    /// looked at.
    pub(super) fn subscribe(&self, id: S::Id) -> Result<watch::Receiver<Option<S::State>>, Error> {
        let mut subscriptions = self.shared.subscriptions();
        let is_full = subscriptions.watched.len() >= self.shared.most;
        let known = match subscriptions.watched.entry(id) {
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
        Ok(known)
    }
}

impl<S: Subject> Shared<S> {
    /// Polls as long as somebody watches, and rests as long as a query took: a connection is never
    /// taken up by this alone. A query that hung is not waited for again.
    async fn poll(self: Arc<Self>) {
        while let Some(ids) = self.watched() {
            let start = Instant::now();
            self.query(&ids).await;
            let took = start.elapsed();
            sleep(took.clamp(S::GAP, S::TICK)).await;
            let _ = timeout(S::TICK.saturating_sub(S::GAP), self.wake.notified()).await;
        }
    }

    /// What is watched; with nothing, the task is over. Both are found out under the lock, so that
    /// the next watch starts another.
    fn watched(&self) -> Option<Vec<S::Id>> {
        let mut subscriptions = self.subscriptions();
        subscriptions.watched.retain(|_, known| !known.is_closed());
        if subscriptions.watched.is_empty() {
            subscriptions.task = None;
            return None;
        }
        Some(subscriptions.watched.keys().copied().collect())
    }

    /// Reads the states. Those that cannot be read now wait for the next poll.
    async fn query(&self, ids: &[S::Id]) {
        for ids in ids.chunks(QUERY_IDS) {
            self.queries.fetch_add(1, Ordering::Relaxed);
            match self.subject.look(ids).await {
                Ok(found) => self.publish(&found),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, watched = ids.len(), "what is watched was not read");
                }
            }
        }
    }

    fn publish(&self, found: &[(S::Id, S::State)]) {
        let subscriptions = self.subscriptions();
        for (id, state) in found {
            if let Some(known) = subscriptions.watched.get(id) {
                known.send_if_modified(|known| known.replace(*state) != Some(*state));
            }
        }
    }

    fn subscriptions(&self) -> MutexGuard<'_, Subscriptions<S>> {
        lock(&self.subscriptions)
    }
}
