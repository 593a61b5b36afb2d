//! A store that reads products through a cache and tells the cache what changed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use serde::Serialize;

use super::{Entry, ProductCache};
use crate::{
    domain::{Product, ProductId},
    error::Error,
    store::Store,
    supervise::{self, catch, supervise},
};

/// How long to wait before telling the cache again what it could not be told.
const REPAIR_PAUSE: Duration = Duration::from_millis(100);

/// Where a read came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// From the cache.
    Hit,
    /// From the database, and the cache keeps it now.
    Miss,
    /// From the database: the cache is away, or does not know of a change yet.
    Bypass,
}

impl CacheStatus {
    /// Its name in the `X-Cache` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// How the cache did since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CacheStats {
    /// Reads that the cache answered.
    pub hits: u64,
    /// Reads that it could not answer.
    pub misses: u64,
    /// Hits over hits and misses; 0 before the first read.
    pub ratio: f64,
    /// Calls that failed.
    pub errors: u64,
    /// Entries that are kept, where that is known.
    pub entries: Option<u64>,
}

type Read = Result<Option<Product>, Error>;

/// A query that is under way, which everybody who misses joins.
struct Flight {
    number: u64,
    read: Shared<BoxFuture<'static, Read>>,
}

/// What the reads and the writes of one process share.
struct State {
    cache: Arc<dyn ProductCache>,
    flights: Mutex<HashMap<ProductId, Flight>>,
    flight_number: AtomicU64,
    /// Products that the cache could not be told of: their newest state, or `None` where that
    /// has to be read again, since the outcome of a change is unknown.
    untold: Mutex<HashMap<ProductId, Option<Entry>>>,
    is_repairing: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
}

/// A store behind a cache.
pub struct CachedStore {
    pub(super) inner: Arc<dyn Store>,
    state: Arc<State>,
}

impl CachedStore {
    /// Puts `cache` before `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, cache: Arc<dyn ProductCache>) -> Self {
        Self {
            inner,
            state: Arc::new(State {
                cache,
                flights: Mutex::default(),
                flight_number: AtomicU64::new(0),
                untold: Mutex::default(),
                is_repairing: AtomicBool::new(false),
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                errors: AtomicU64::new(0),
            }),
        }
    }

    /// A living product, and where it was read from.
    ///
    /// # Errors
    /// The store's; a cache that fails is passed by.
    pub async fn read(&self, id: ProductId) -> Result<(Option<Product>, CacheStatus), Error> {
        let status = if lock(&self.state.untold).contains_key(&id) {
            CacheStatus::Bypass
        } else {
            match self.state.cache.get(id).await {
                Ok(Some(entry)) => {
                    self.state.hits.fetch_add(1, Ordering::Relaxed);
                    let product = match entry {
                        Entry::Living(product) => Some(product),
                        Entry::Archived(_) => None,
                    };
                    return Ok((product, CacheStatus::Hit));
                }
                Ok(None) => CacheStatus::Miss,
                Err(error) => {
                    self.state.failed(&error);
                    CacheStatus::Bypass
                }
            }
        };
        self.state.misses.fetch_add(1, Ordering::Relaxed);
        let read = self.join_flight(id, status == CacheStatus::Miss);
        Ok((read.await?, status))
    }

    /// How the cache did.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (hits, misses) = (count(&self.state.hits), count(&self.state.misses));
        #[allow(clippy::cast_precision_loss)] // A ratio for people.
        let ratio = hits as f64 / (hits + misses).max(1) as f64;
        CacheStats {
            hits,
            misses,
            ratio,
            errors: count(&self.state.errors),
            entries: self.state.cache.entries(),
        }
    }

    /// Joins the query for `id` that is under way, or starts one.
    fn join_flight(&self, id: ProductId, keep: bool) -> Shared<BoxFuture<'static, Read>> {
        let mut flights = lock(&self.state.flights);
        if let Some(flight) = flights.get(&id) {
            return flight.read.clone();
        }
        let number = self.state.flight_number.fetch_add(1, Ordering::Relaxed);
        let (inner, state) = (Arc::clone(&self.inner), Arc::clone(&self.state));
        let read = async move {
            let reading = async {
                let read = inner.product(id).await;
                if keep && let Ok(Some(product)) = &read {
                    state.keep(product).await;
                }
                read
            };
            // A panic must not leave the flight there, to be joined for ever.
            let read = catch(supervise::CACHE, reading).await;
            let read = read.unwrap_or_else(|panic| Err(Error::backend(panic)));
            let mut flights = lock(&state.flights);
            if flights.get(&id).is_some_and(|f| f.number == number) {
                flights.remove(&id);
            }
            read
        };
        // Spawned, so that it ends even when everybody who waits for it goes away.
        let task = tokio::spawn(read);
        let read = async move {
            let ended = task.await;
            ended.unwrap_or_else(|error| Err(Error::backend(error)))
        };
        let read = read.boxed().shared();
        let flight = Flight {
            number,
            read: read.clone(),
        };
        flights.insert(id, flight);
        read
    }

    /// Tells the cache what changed. When this returns, no read through this store is older
    /// than the change.
    pub(super) async fn changed(&self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        self.leave_flights(entries.iter().map(Entry::id));
        if let Err(error) = self.state.cache.put(&entries).await {
            self.state.failed(&error);
            self.state.remember(entries);
            self.repair();
        }
    }

    /// Passes the cache by for products that may have changed, until they are read again.
    fn suspect(&self, ids: impl Iterator<Item = ProductId>) {
        let ids: Vec<ProductId> = ids.collect();
        if ids.is_empty() {
            return;
        }
        lock(&self.state.untold).extend(ids.iter().map(|id| (*id, None)));
        self.leave_flights(ids.into_iter());
        self.repair();
    }

    /// A query that is under way may have started before a change: who misses from now on
    /// starts another.
    fn leave_flights(&self, ids: impl Iterator<Item = ProductId>) {
        let mut flights = lock(&self.state.flights);
        for id in ids {
            flights.remove(&id);
        }
    }

    /// The result of a change of these products, which are suspect when its outcome is unknown.
    pub(crate) fn unless_unknown<T>(
        &self,
        result: Result<T, Error>,
        ids: impl Iterator<Item = ProductId>,
    ) -> Result<T, Error> {
        if let Err(Error::OutcomeUnknown { .. }) = result {
            self.suspect(ids);
        }
        result
    }

    /// Tells the cache what it missed, until it has it all.
    fn repair(&self) {
        if self.state.is_repairing.swap(true, Ordering::SeqCst) {
            return;
        }
        let (state, inner) = (Arc::clone(&self.state), Arc::clone(&self.inner));
        tokio::spawn(supervise(supervise::CACHE, move || {
            let (state, inner) = (Arc::clone(&state), Arc::clone(&inner));
            async move {
                while !state.repair_once(inner.as_ref()).await {
                    tokio::time::sleep(REPAIR_PAUSE).await;
                }
            }
        }));
    }

    /// Waits until the cache was told everything.
    pub(crate) async fn settle(&self) {
        while !lock(&self.state.untold).is_empty() {
            tokio::time::sleep(REPAIR_PAUSE / 4).await;
        }
    }

    pub(super) async fn changed_products(&self, products: &[Product]) {
        let living = products.iter().cloned().map(Entry::Living);
        self.changed(living.collect()).await;
    }

    /// The products among `ids` whose state did not come back with the answer: an earlier
    /// attempt changed them, whose commit was in doubt.
    pub(super) fn suspect_missing(&self, ids: impl Iterator<Item = ProductId>, told: &[Product]) {
        self.suspect(ids.filter(|id| !told.iter().any(|product| product.id == *id)));
    }
}

impl State {
    fn failed(&self, error: &Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(error = error as &dyn std::error::Error, "cache failed");
    }

    async fn keep(&self, product: &Product) {
        if let Err(error) = self.cache.put(&[Entry::Living(product.clone())]).await {
            self.failed(&error);
        }
    }

    /// Keeps the newest of what the cache has to be told.
    fn remember(&self, entries: Vec<Entry>) {
        let mut untold = lock(&self.untold);
        for entry in entries {
            match untold.get(&entry.id()) {
                // To be read again, which gives nothing older.
                Some(None) => {}
                Some(Some(known)) if known.version() >= entry.version() => {}
                _ => {
                    untold.insert(entry.id(), Some(entry));
                }
            }
        }
    }

    /// Tells the cache what it missed; whether that is all.
    async fn repair_once(&self, inner: &dyn Store) -> bool {
        let untold: Vec<_> = lock(&self.untold)
            .iter()
            .map(|(id, entry)| (*id, entry.clone()))
            .collect();
        let mut told = Vec::with_capacity(untold.len());
        for (id, entry) in &untold {
            let newest = match entry {
                Some(entry) => Ok(entry.clone()),
                None => inner
                    .product(*id)
                    .await
                    .map(|product| product.map_or(Entry::Archived(*id), Entry::Living)),
            };
            if let Ok(newest) = newest {
                told.push((entry, newest));
            }
        }
        let entries: Vec<Entry> = told.iter().map(|(_, newest)| newest.clone()).collect();
        if self.cache.put(&entries).await.is_err() {
            return false;
        }
        let mut untold = lock(&self.untold);
        for (entry, newest) in told {
            // What came in between stays to be told.
            if untold.get(&newest.id()) == Some(entry) {
                untold.remove(&newest.id());
            }
        }
        if untold.is_empty() {
            // Under the lock, so that whoever adds a product next starts a repair.
            self.is_repairing.store(false, Ordering::SeqCst);
        }
        untold.is_empty()
    }
}

/// What these locks guard is whole between any two statements: a poisoned one is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
