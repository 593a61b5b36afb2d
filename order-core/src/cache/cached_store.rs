//! A store that reads products through a cache, and invalidates entries that changed.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
    stream,
};

use super::{
    CacheMark, CacheStats, CacheStatus, Entry, ProductCache,
    pending_invalidations::{Change, Next, PendingInvalidations},
};
use crate::{
    domain::{Product, ProductId},
    error::Error,
    metrics::part,
    store::{ProductStore, Store},
    supervise::{catch, supervise},
    sync::lock,
};

/// The pause between two attempts to hand the cache its pending invalidations.
const REPAIR_PAUSE: Duration = Duration::from_millis(100);
/// The most products that one attempt hands over.
const SLICE: usize = 1_000;
/// The most products in doubt that are read at once.
const READS_AT_ONCE: usize = 8;

type Read = Result<Option<Product>, Error>;

/// A query that is under way; later misses join it.
struct Flight {
    number: u64,
    read: Shared<BoxFuture<'static, Read>>,
}

/// The state that the reads and the writes of one process share.
struct State {
    cache: Arc<dyn ProductCache>,
    flights: Mutex<HashMap<ProductId, Flight>>,
    flight_number: AtomicU64,
    /// Changes that the cache does not know of yet.
    pending: PendingInvalidations,
    hits: AtomicU64,
    misses: AtomicU64,
    errors: AtomicU64,
}

/// A store behind a cache.
pub struct CachedStore {
    pub(super) inner: Arc<dyn Store>,
    state: Arc<State>,
}

impl fmt::Debug for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
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
                pending: PendingInvalidations::default(),
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                errors: AtomicU64::new(0),
            }),
        }
    }

    /// An active product, and the source of the read.
    ///
    /// # Errors
    /// The store's; a cache that fails is passed by.
    pub async fn read(&self, id: ProductId) -> Result<(Option<Product>, CacheStatus), Error> {
        let status = if self.state.pending.contains(id) {
            CacheStatus::Bypass
        } else {
            match self.state.cache.get(id).await {
                Ok(Some(Entry::Active(product))) => return Ok(self.state.hit(Some(product))),
                Ok(Some(Entry::Archived(_))) => return Ok(self.state.hit(None)),
                Ok(Some(Entry::Outdated { .. }) | None) => CacheStatus::Miss,
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

    /// The reads so far.
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
        let mark = self.mark();
        let read = async move {
            let reading = async {
                let read = inner.product(id).await;
                if keep && let Ok(Some(product)) = &read {
                    state.keep(product, mark).await;
                }
                read
            };
            // A panic must not leave the flight there, to be joined for ever.
            let read = catch(part::CACHE, reading).await;
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

    /// To be taken before a change is made, and given with it.
    pub(super) fn mark(&self) -> CacheMark {
        self.state.cache.mark()
    }

    /// Puts changed products into the cache. When this returns, no read through this store is
    /// older than the change.
    pub(super) async fn changed_products(&self, products: &[Product], mark: CacheMark) {
        self.leave_flights(products.iter().map(|product| product.id));
        for (number, slice) in products.chunks(SLICE).enumerate() {
            let entries: Vec<Entry> = slice.iter().cloned().map(Entry::Active).collect();
            if let Err(error) = self.state.cache.put(&entries, mark).await {
                self.state.failed(&error);
                let missed = products[number * SLICE..].iter();
                self.remember(missed.map(|product| (product.id, Some(product.version))));
                return;
            }
        }
    }

    /// Puts it into the cache that a product is archived, likewise.
    pub(super) async fn archived(&self, id: ProductId, mark: CacheMark) {
        self.leave_flights(std::iter::once(id));
        if let Err(error) = self.state.cache.put(&[Entry::Archived(id)], mark).await {
            self.state.failed(&error);
            self.remember(std::iter::once((id, None)));
        }
    }

    /// Passes the cache by for products that may have changed, until they are read again.
    fn invalidate(&self, ids: impl Iterator<Item = ProductId>) {
        let ids: Vec<ProductId> = ids.collect();
        self.remember(ids.iter().map(|id| (*id, None)));
        self.leave_flights(ids.into_iter());
    }

    /// Makes later misses start another query: one that is under way may have started before the
    /// change.
    fn leave_flights(&self, ids: impl Iterator<Item = ProductId>) {
        let mut flights = lock(&self.state.flights);
        for id in ids {
            flights.remove(&id);
        }
    }

    /// Passes the result of a change on, and invalidates its products when the outcome is unknown.
    pub(crate) fn invalidate_if_unknown<T>(
        &self,
        result: Result<T, Error>,
        ids: impl Iterator<Item = ProductId>,
    ) -> Result<T, Error> {
        if let Err(Error::OutcomeUnknown { .. }) = result {
            self.invalidate(ids);
        }
        result
    }

    /// Passes the result of a change on whose products only its answer would have told, and
    /// invalidates everything when the outcome is unknown.
    pub(super) fn invalidate_all_if_unknown<T>(
        &self,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Err(Error::OutcomeUnknown { .. }) = result {
            let is_to_begin = self.state.pending.add_everything();
            lock(&self.state.flights).clear();
            self.hand_over(is_to_begin);
        }
        result
    }

    /// Remembers invalidations, and hands them to the cache until it has them all.
    fn remember(&self, changes: impl Iterator<Item = (ProductId, Option<i64>)>) {
        let is_to_begin = self.state.pending.add(changes);
        self.hand_over(is_to_begin);
    }

    /// Begins a task that hands pending invalidations to the cache, if there is to be one.
    fn hand_over(&self, is_to_begin: bool) {
        if !is_to_begin {
            return;
        }
        let (state, inner) = (Arc::clone(&self.state), Arc::clone(&self.inner));
        tokio::spawn(supervise(part::CACHE, move || {
            let (state, inner) = (Arc::clone(&state), Arc::clone(&inner));
            async move {
                loop {
                    match state.repair(inner.as_ref()).await {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(_) => tokio::time::sleep(REPAIR_PAUSE).await,
                    }
                }
            }
        }));
    }

    /// Waits until the cache knows of every change.
    pub(crate) async fn settle(&self) {
        while self.pending_invalidations() > 0 {
            tokio::time::sleep(REPAIR_PAUSE / 4).await;
        }
    }

    /// The number of pending invalidations: products, or one when everything is invalid.
    pub(crate) fn pending_invalidations(&self) -> usize {
        self.state.pending.len()
    }

    /// Invalidates the products among `ids` that did not come back with the answer: an earlier
    /// attempt changed them, whose commit was in doubt.
    pub(super) fn invalidate_missing(
        &self,
        ids: impl Iterator<Item = ProductId>,
        answered: &[Product],
    ) {
        self.invalidate(ids.filter(|id| !answered.iter().any(|product| product.id == *id)));
    }
}

impl State {
    fn failed(&self, error: &Error) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(error = error as &dyn std::error::Error, "cache failed");
    }

    fn hit(&self, product: Option<Product>) -> (Option<Product>, CacheStatus) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        (product, CacheStatus::Hit)
    }

    async fn keep(&self, product: &Product, mark: CacheMark) {
        let entry = Entry::Active(product.clone());
        if let Err(error) = self.cache.put(&[entry], mark).await {
            self.failed(&error);
        }
    }

    /// Hands some pending invalidations to the cache; true when there may be more.
    async fn repair(&self, inner: &dyn ProductStore) -> Result<bool, Error> {
        match self.pending.next(SLICE) {
            Next::Nothing => return Ok(false),
            Next::Everything(overflow) => {
                self.cache.clear().await?;
                tracing::warn!(
                    "the cache has forgotten all: it is not known by itself what changed"
                );
                self.pending.forgotten(overflow);
            }
            Next::Products(changes) => {
                let mark = self.cache.mark();
                let (entries, changes) = self.newest(inner, changes).await?;
                self.cache.put(&entries, mark).await?;
                self.pending.delivered(&changes);
            }
        }
        Ok(true)
    }

    /// The entries to put for these products, and the changes that they cover. Products that cannot
    /// be read are left for later.
    async fn newest(
        &self,
        inner: &dyn ProductStore,
        changes: Vec<(ProductId, Change)>,
    ) -> Result<(Vec<Entry>, Vec<(ProductId, Change)>), Error> {
        let newest = async |(id, change): (ProductId, Change)| match change {
            Change::Outdated(version) => Ok((Entry::Outdated { id, version }, (id, change))),
            Change::Uncertain(_) => {
                let product = inner.product(id).await?;
                let entry = product.map_or(Entry::Archived(id), Entry::Active);
                Ok((entry, (id, change)))
            }
        };
        let reads = changes.into_iter().map(newest);
        let read: Vec<_> = stream::iter(reads)
            .buffer_unordered(READS_AT_ONCE)
            .collect()
            .await;
        let (mut known, mut failure) = ((Vec::new(), Vec::new()), None);
        for read in read {
            match read {
                Ok(newest) => known.extend([newest]),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if known.0.is_empty() => Err(error),
            _ => Ok(known),
        }
    }
}
