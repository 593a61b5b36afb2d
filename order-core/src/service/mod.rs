//! The service that an application embeds: products and orders over a store, with time and
//! ids put in, and concurrent requests grouped.

mod aside;
mod follow;
mod gate;
mod group;
mod keys;
mod observe;
mod operate;
mod stats;

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use self::{
    gate::{Gate, Limits},
    group::Group,
    observe::Lookout,
    stats::LatestStats,
};
pub use self::{
    operate::{DeadEntry, TopicStats},
    stats::{Stats, WINDOW, WaitFigures},
};
use crate::{
    cache::{CacheStats, CacheStatus, CachedStore, ProductCache},
    clock::{Clock, SystemClock},
    domain::{
        AdjustmentId, IdGenerator, IdempotencyKey, NewOrder, Order, OrderId, OrderRequest, Page,
        Placing, Product, ProductChange, ProductId, ProductRequest, Replayable, StockRequest,
    },
    error::Error,
    queue::{OrderQueue, Topic},
    store::{OrderQuery, Outcome, ProductQuery, Purchase, StockDiscrepancy, Store, Strategy},
    supervise::{self, catch},
    trace,
    watch::Watcher,
    worker::{Worker, WorkerOptions},
};

/// The most orders that share one transaction.
const GROUP_ORDERS: usize = 1_000;
/// How many groups of one bulk may be under way at once: one is written while another is
/// prepared or waits for the disk. Groups of single requests gain nothing by it: they would
/// only be smaller.
const BULK_GROUPS: usize = 2;

/// What the service is made of; shared by its clones, its groups and its workers.
struct Parts {
    store: Arc<dyn Store>,
    /// The same store, when it has a cache before it.
    cached: Option<Arc<CachedStore>>,
    queue: Option<Arc<dyn OrderQueue>>,
    clock: Arc<dyn Clock>,
    ids: IdGenerator,
    strategy: Strategy,
    /// What goes on after the answer: offering orders.
    background: TaskTracker,
    /// Told after each commit of accepted orders: wakes the workers of this process.
    accepted: Arc<Notify>,
    latest_stats: LatestStats,
    /// Told after each commit of purchases: wakes those who do tasks in this process.
    sold: Arc<Notify>,
}

impl Parts {
    /// Gives requests their ids and their time. What is stamped first is decided first.
    fn stamp(&self, requests: Vec<OrderRequest>) -> Vec<NewOrder> {
        let now = self.clock.now();
        requests
            .into_iter()
            .map(|request| request.stamp(OrderId(self.ids.next(now)), now))
            .collect()
    }

    /// Sells orders, or not. When that panics, what it had begun may be done.
    async fn purchase(&self, orders: &[NewOrder]) -> Result<Outcome<Purchase>, Error> {
        let bought = catch(supervise::GROUP, self.store.purchase(orders, self.strategy));
        let bought = bought.await.unwrap_or_else(|panic| Err(panic.into()));
        match &self.cached {
            Some(cached) => {
                let wanted = orders.iter().flat_map(|order| &order.lines);
                cached.unless_unknown(bought, wanted.map(|line| line.product_id))
            }
            None => bought,
        }
    }

    /// Stores orders as pending, and lets the workers know. When that panics, what it had begun
    /// may be done.
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        let accepted = catch(supervise::GROUP, self.store.accept(orders)).await;
        let results = accepted.unwrap_or_else(|panic| Err(panic.into()))?;
        let accepted: Vec<OrderId> = orders
            .iter()
            .zip(&results)
            .filter(|(order, result)| matches!(result, Ok(stored) if !order.is_replayed_by(stored)))
            .map(|(order, _)| order.id)
            .collect();
        if !accepted.is_empty() {
            self.offer(accepted);
        }
        Ok(results)
    }

    /// Tells whoever decides that there are new orders. They are stored, so that nothing
    /// here may fail or delay the answer: what does not arrive, the sweeper finds.
    fn offer(&self, accepted: Vec<OrderId>) {
        let notify = Arc::clone(&self.accepted);
        let Some(queue) = self.queue.clone() else {
            notify.notify_one();
            return;
        };
        self.background.spawn(async move {
            let offered = catch(supervise::OFFER, queue.push(Topic::Validate, &accepted)).await;
            if let Ok(Err(error)) = offered {
                // The queue tells by itself when it begins to fail, and when it ends.
                tracing::debug!(%error, orders = accepted.len(), "orders were not offered");
            }
            notify.notify_one();
        });
    }
}

/// Products and orders. Cheap to clone; every clone shares the same groups.
#[derive(Clone)]
pub struct OrderService {
    parts: Arc<Parts>,
    accepts: Group,
    purchases: Group,
    /// Before the orders that have their turns alone.
    gate: Arc<Gate>,
    watcher: Watcher,
    lookout: Arc<Lookout>,
}

/// Puts an [`OrderService`] together.
pub struct Builder {
    parts: Parts,
    limits: Limits,
    max_watched: usize,
}

impl Builder {
    /// How concurrent orders are kept apart; [`Strategy::Batch`] unless said otherwise.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.parts.strategy = strategy;
        self
    }

    /// Where accepted orders are offered to workers. Without one, the database is the queue:
    /// workers find pending orders there.
    #[must_use]
    pub fn queue(mut self, queue: Arc<dyn OrderQueue>) -> Self {
        self.parts.queue = Some(queue);
        self
    }

    /// Reads products through a cache, which is told of every change that is made through
    /// this service and its workers. Without one, reads go to the database.
    #[must_use]
    pub fn cache(mut self, cache: Arc<dyn ProductCache>) -> Self {
        let cached = Arc::new(CachedStore::new(self.parts.store, cache));
        self.parts.store = Arc::clone(&cached) as Arc<dyn Store>;
        self.parts.cached = Some(cached);
        self
    }

    /// The clock; the machine's unless said otherwise.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.parts.clock = clock;
        self
    }

    /// How many requests may wait for their group, each way, before more are refused as
    /// [`Error::Overloaded`]; 10 000 unless said otherwise.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.limits.max_waiting = requests;
        self
    }

    /// How long a request may look to have to wait for the end of its turn before it is
    /// refused at once as [`Error::Overloaded`]; 500 ms unless said otherwise.
    #[must_use]
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.limits.max_wait = wait;
        self
    }

    /// How many orders may be watched at once before more are refused as
    /// [`Error::Overloaded`]; 10 000 unless said otherwise.
    #[must_use]
    pub fn max_watched(mut self, orders: usize) -> Self {
        self.max_watched = orders;
        self
    }

    /// The service. Must be called within a Tokio runtime, which runs its groups.
    #[must_use]
    pub fn build(self) -> OrderService {
        let parts = Arc::new(self.parts);
        OrderService {
            accepts: Group::start(Arc::clone(&parts), Placing::Accept, self.limits),
            purchases: Group::start(Arc::clone(&parts), Placing::Purchase, self.limits),
            gate: Gate::new(self.limits, 1),
            watcher: Watcher::new(Arc::clone(&parts.store), self.max_watched),
            lookout: Arc::default(),
            parts,
        }
    }
}

impl OrderService {
    /// A service over `store`, whose schema is migrated.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder {
            parts: Parts {
                store,
                cached: None,
                queue: None,
                clock: Arc::new(SystemClock),
                ids: IdGenerator::default(),
                strategy: Strategy::default(),
                background: TaskTracker::new(),
                accepted: Arc::new(Notify::new()),
                latest_stats: LatestStats::default(),
                sold: Arc::new(Notify::new()),
            },
            limits: Limits {
                max_waiting: 10_000,
                max_wait: Duration::from_millis(500),
            },
            max_watched: 10_000,
        }
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// A worker that decides what this service (or any other on the same database) accepts.
    #[must_use]
    pub fn worker(&self, options: WorkerOptions) -> Worker {
        let parts = &self.parts;
        Worker::new(
            Arc::clone(&parts.store),
            parts.queue.clone(),
            Arc::clone(&parts.clock),
            options,
        )
        .woken_by(Arc::clone(&parts.accepted))
        .woken_by_sales(Arc::clone(&parts.sold))
        .waking(self.watcher.wake())
    }

    /// Creates a product.
    ///
    /// # Errors
    /// [`Error::SkuTaken`].
    pub async fn create_product(&self, request: ProductRequest) -> Result<Product, Error> {
        let now = self.now();
        let product = request.stamp(
            ProductId(self.parts.ids.next(now)),
            self.adjustment_id(now),
            now,
        );
        self.to_the_end(move |store| async move { store.create_product(&product).await })
            .await
    }

    /// A living product.
    ///
    /// # Errors
    /// The backend's.
    pub async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        self.parts.store.product(id).await
    }

    /// The living product that has this sku.
    ///
    /// # Errors
    /// The backend's.
    pub async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        storable("sku", Some(sku))?;
        self.parts.store.product_with_sku(sku).await
    }

    /// A living product, and where it was read from.
    ///
    /// # Errors
    /// The backend's; a cache that fails is passed by.
    pub async fn read_product(
        &self,
        id: ProductId,
    ) -> Result<(Option<Product>, CacheStatus), Error> {
        match &self.parts.cached {
            Some(cached) => cached.read(id).await,
            None => Ok((self.parts.store.product(id).await?, CacheStatus::Bypass)),
        }
    }

    /// How the cache did since the process started; `None` without one.
    #[must_use]
    pub fn cache_stats(&self) -> Option<CacheStats> {
        self.parts.cached.as_ref().map(|cached| cached.stats())
    }

    /// Living products, newest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        storable("search", query.search.as_deref())?;
        self.parts.store.products(query).await
    }

    /// Changes a living product.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`], [`Error::SkuTaken`].
    pub async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
    ) -> Result<Option<Product>, Error> {
        let now = self.now();
        let (change, adjustment_id) = (change.clone(), self.adjustment_id(now));
        self.to_the_end(move |store| async move {
            store.update_product(id, &change, adjustment_id, now).await
        })
        .await
    }

    /// Adds to or takes from a living product's stock; once, when the request has a key.
    ///
    /// # Errors
    /// [`Error::InsufficientStock`], [`Error::StockLimit`], [`Error::IdempotencyKeyReused`].
    pub async fn adjust_stock(
        &self,
        id: ProductId,
        request: StockRequest,
    ) -> Result<Option<Product>, Error> {
        let adjusted = self.adjust_stock_or_replay(id, request).await?;
        Ok(adjusted.map(|adjusted| adjusted.value))
    }

    /// As [`adjust_stock`](Self::adjust_stock), and tells whether an earlier request with the
    /// same key did it.
    ///
    /// # Errors
    /// The same.
    pub async fn adjust_stock_or_replay(
        &self,
        id: ProductId,
        request: StockRequest,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let now = self.now();
        let adjustment = request.stamp(self.adjustment_id(now), id, now);
        self.to_the_end(move |store| async move { store.adjust_stock(&adjustment).await })
            .await
    }

    /// Archives a product; whether a living one was there.
    ///
    /// # Errors
    /// The backend's.
    pub async fn archive_product(&self, id: ProductId) -> Result<bool, Error> {
        let now = self.now();
        self.to_the_end(move |store| async move { store.archive_product(id, now).await })
            .await
    }

    /// Accepts an order: it is stored, pending, when this returns; once, when the request has
    /// a key.
    ///
    /// # Errors
    /// [`Error::ProductNotFound`], [`Error::Overloaded`], [`Error::IdempotencyKeyReused`].
    pub async fn accept(&self, request: OrderRequest) -> Result<Order, Error> {
        let accepted = self.accept_or_replay(request).await?;
        Ok(accepted.value)
    }

    /// As [`accept`](Self::accept), and tells whether an earlier request with the same key did
    /// it. The order comes as it was then: pending.
    ///
    /// # Errors
    /// The same.
    pub async fn accept_or_replay(
        &self,
        request: OrderRequest,
    ) -> Result<Replayable<Order>, Error> {
        if self.parts.strategy == Strategy::Batch {
            return self.accepts.join(request).await;
        }
        self.alone(Placing::Accept, request).await
    }

    /// Accepts many orders, each with a result of its own, in the order given.
    ///
    /// # Errors
    /// Within: [`Error::ProductNotFound`], [`Error::IdempotencyKeyReused`]. The backend's
    /// errors are given to the orders that met them: those that were accepted before stand.
    pub async fn accept_all(&self, requests: Vec<OrderRequest>) -> Vec<Result<Order, Error>> {
        let accepted = self.accept_all_or_replay(requests).await.into_iter();
        accepted.map(|result| result.map(|r| r.value)).collect()
    }

    /// As [`accept_all`](Self::accept_all), and tells of each whether an earlier request with
    /// the same key did it.
    ///
    /// # Errors
    /// The same.
    pub async fn accept_all_or_replay(
        &self,
        requests: Vec<OrderRequest>,
    ) -> Vec<Result<Replayable<Order>, Error>> {
        let (parts, count) = (Arc::clone(&self.parts), requests.len());
        let trace = trace::current();
        let requests = requests.into_iter().map(|request| request.in_trace(trace));
        let requests = requests.collect();
        let accepted = in_a_task(async move {
            let orders = parts.stamp(requests);
            let groups = orders.chunks(GROUP_ORDERS).map(<[NewOrder]>::to_vec);
            let results = stream::iter(groups)
                .map(|group| {
                    let parts = Arc::clone(&parts);
                    async move {
                        let results = group::run(&parts, Placing::Accept, &group).await;
                        group::told(&group, results).collect::<Vec<_>>()
                    }
                })
                .buffered(BULK_GROUPS);
            Ok(results.concat().await)
        });
        accepted
            .await
            .unwrap_or_else(|error| vec![Err(error); count])
    }

    /// Buys at once: the order is sold and stored when this returns, or leaves no trace; once,
    /// when the request has a key.
    ///
    /// # Errors
    /// [`Error::InsufficientStock`], [`Error::ProductNotFound`], [`Error::Overloaded`],
    /// [`Error::IdempotencyKeyReused`].
    pub async fn purchase(&self, request: OrderRequest) -> Result<Order, Error> {
        let bought = self.purchase_or_replay(request).await?;
        Ok(bought.value)
    }

    /// As [`purchase`](Self::purchase), and tells whether an earlier request with the same key
    /// did it. The order comes as it was then: just sold.
    ///
    /// # Errors
    /// The same.
    pub async fn purchase_or_replay(
        &self,
        request: OrderRequest,
    ) -> Result<Replayable<Order>, Error> {
        if self.parts.strategy == Strategy::Batch {
            return self.purchases.join(request).await;
        }
        self.alone(Placing::Purchase, request).await
    }

    /// An order.
    ///
    /// # Errors
    /// The backend's.
    pub async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        self.parts.store.order(id).await
    }

    /// Orders, newest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        storable("reference", query.reference.as_deref())?;
        self.parts.store.orders(query).await
    }

    /// Cancels an order and gives back the stock it holds; one cancelled already stays so.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it failed or is completed, [`Error::StockLimit`].
    pub async fn cancel(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let cancelled = self.cancel_or_replay(id, None).await?;
        Ok(cancelled.map(|cancelled| cancelled.value))
    }

    /// As [`cancel`](Self::cancel), and tells whether an earlier request with the same key
    /// did it.
    ///
    /// # Errors
    /// The same, and [`Error::IdempotencyKeyReused`].
    pub async fn cancel_or_replay(
        &self,
        id: OrderId,
        key: Option<IdempotencyKey>,
    ) -> Result<Option<Replayable<Order>>, Error> {
        let now = self.now();
        let cancelled = self
            .to_the_end(move |store| async move { store.cancel(id, now, key.as_ref()).await })
            .await?;
        self.watcher.wake().notify_one();
        Ok(cancelled.map(|cancelled| Replayable {
            value: cancelled.order,
            replayed: cancelled.replayed,
        }))
    }

    /// Every product whose books do not balance.
    ///
    /// # Errors
    /// The backend's.
    pub async fn verify(&self) -> Result<Vec<StockDiscrepancy>, Error> {
        self.parts.store.verify().await
    }

    /// Waits, for up to `limit`, until what goes on after answers is done: offering orders to
    /// the queue, telling the cache. For a process that is about to end.
    pub async fn settle(&self, limit: Duration) {
        self.parts.background.close();
        let cached = async {
            if let Some(cached) = &self.parts.cached {
                cached.settle().await;
            }
        };
        let all = async { tokio::join!(self.parts.background.wait(), cached) };
        let settled = tokio::time::timeout(limit, all).await;
        self.parts.background.reopen();
        if let (Err(_), Some(cached)) = (settled, &self.parts.cached)
            && cached.untold() > 0
        {
            let products = cached.untold();
            tracing::warn!(products, "the cache was not told of all that changed");
        }
    }

    /// One order in a transaction of its own, as the strategies without groups have it.
    async fn alone(
        &self,
        placing: Placing,
        request: OrderRequest,
    ) -> Result<Replayable<Order>, Error> {
        let (parts, place) = (Arc::clone(&self.parts), self.gate.enter()?);
        let request = request.in_trace(trace::current());
        in_a_task(async move {
            let orders = parts.stamp(vec![request]);
            let results = group::run(&parts, placing, &orders).await;
            place.turn_ended();
            only(group::told(&orders, results))
        })
        .await
    }

    /// Makes a change of the store, to the end.
    async fn to_the_end<T: Send + 'static, F>(
        &self,
        change: impl FnOnce(Arc<dyn Store>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        in_a_task(change(Arc::clone(&self.parts.store))).await
    }

    fn now(&self) -> DateTime<Utc> {
        self.parts.clock.now()
    }

    fn adjustment_id(&self, now: DateTime<Utc>) -> AdjustmentId {
        AdjustmentId(self.parts.ids.next(now))
    }
}

/// Runs a change in a task of its own: it goes on to the end, and the cache is told, also
/// when whoever asked for it stops waiting.
async fn in_a_task<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let change = catch(supervise::CHANGE, change);
    let ended = tokio::spawn(change).await.map_err(Error::backend)?;
    ended.unwrap_or_else(|panic| Err(panic.into()))
}

/// Refuses a text that no database could have stored, and Postgres cannot look for.
fn storable(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    if text.is_some_and(|text| text.contains('\0')) {
        return Err(Error::invalid(field, "must not contain a NUL character"));
    }
    Ok(())
}

/// The result of the one order that was given.
fn only<T>(results: impl IntoIterator<Item = Result<T, Error>>) -> Result<T, Error> {
    results
        .into_iter()
        .next()
        .unwrap_or_else(|| Err(Error::corrupt("the store gave no result for the order")))
}
