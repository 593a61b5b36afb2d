//! Where products and orders live: the traits, and their Postgres and SQLite implementations.
//!
//! Each method is one atomic step: it has happened wholly or not at all when it returns,
//! it is durable when it returns `Ok`, and no transaction is ever handed out. Ids and
//! times come from the caller, so that a step whose commit was in doubt can be made again
//! with the same ids and finds itself already done.

mod contention;
mod error;
mod idempotency;
mod key_rows;
mod plan;
mod postgres;
mod progress_rows;
mod retry;
mod rows;
mod sqlite;
mod stats_rows;
mod strategy;
mod task_rows;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    domain::{
        AdjustmentId, IdempotencyKey, NewOrder, NewProduct, Order, OrderId, OrderStatus, Page,
        PageRequest, Product, ProductChange, ProductId, Progress, Replayable, StockAdjustment,
        folded,
    },
    error::Error,
    heartbeat::WorkerStore,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
};

pub use crate::decision::Decided;
pub use contention::Contention;
#[cfg(feature = "bench")]
pub(crate) use postgres::steps as postgres_statements;
pub use postgres::{PostgresOptions, PostgresStore};
pub(crate) use postgres::{connections::Connections, task_batches};
pub(crate) use rows::{Micros, span_micros};
pub(crate) use sqlite::{Readers as SqliteReaders, Writer as SqliteWriter};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use strategy::Strategy;

/// Which pending orders to decide.
#[derive(Clone, Copy, Debug)]
pub enum Pick<'a> {
    /// Up to so many of the oldest that nobody else is deciding.
    Oldest(usize),
    /// These; the ones that are not pending (any more) are passed over, and those that cannot be
    /// locked are put off.
    These(&'a [OrderId]),
}

/// What became of orders, and the products that changed with them.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// One for each order, in their order.
    pub results: Vec<T>,
    /// The living products whose stock changed, as they are after the commit: what caches
    /// want to know. Those of a purchase that was found stored already are not among them.
    pub changed: Vec<Product>,
    /// Of orders that were named to be decided, those that are still pending, since somebody holds
    /// them or their products locked. They have no result.
    pub put_off: Vec<OrderId>,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self {
            results: Vec::new(),
            changed: Vec::new(),
            put_off: Vec::new(),
        }
    }
}

impl<T> Outcome<T> {
    /// Adds what a later transaction did; of a product, the later state counts.
    fn extend(&mut self, later: Self) {
        self.results.extend(later.results);
        self.put_off.extend(later.put_off);
        let again = |product: &Product| later.changed.iter().any(|p| p.id == product.id);
        self.changed.retain(|product| !again(product));
        self.changed.extend(later.changed);
    }
}

/// How much is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many orders, counted up to [`COUNT_LIMIT`](crate::queue::COUNT_LIMIT).
    pub orders: u64,
    /// How long the oldest of them has been pending, by the clock of the store.
    pub oldest_age: Option<Duration>,
}

/// A cancelled order, and the products that got stock back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// The order.
    pub order: Order,
    /// Those of them that are living, as they are after the commit.
    pub changed: Vec<Product>,
    /// Whether an earlier request with the same key cancelled it.
    pub replayed: bool,
}

impl Cancelled {
    /// It was cancelled before.
    fn before(order: Order, replayed: bool) -> Self {
        Self {
            order,
            changed: Vec::new(),
            replayed,
        }
    }
}

/// What became of one purchase.
pub type Purchase = Result<Order, Error>;

/// Which products to list.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// A part of the name, taken literally, and in any case: see [`folded`].
    pub search: Option<String>,
    /// Which page.
    pub page: PageRequest<ProductId>,
}

impl ProductQuery {
    /// The fold of the part of a name that is looked for, if any: an empty one is in every name.
    pub(crate) fn folded_part(&self) -> Option<String> {
        let part = self.search.as_deref().map(folded);
        part.filter(|part| !part.is_empty())
    }
}

/// Which orders to list. The filters that are given must all match.
#[derive(Clone, Debug, Default)]
pub struct OrderQuery {
    /// In this state.
    pub status: Option<OrderStatus>,
    /// With a line of this product.
    pub product_id: Option<ProductId>,
    /// With exactly this reference.
    pub reference: Option<String>,
    /// Which page.
    pub page: PageRequest<OrderId>,
}

impl OrderQuery {
    /// The product along whose lines the orders are best found: unless there is a filter with
    /// an index of its own, the orders of a product that is rarely sold lie far apart.
    pub(crate) fn along_product(&self) -> Option<ProductId> {
        let is_indexed = match self.status {
            Some(OrderStatus::Pending | OrderStatus::Failed | OrderStatus::Cancelled) => true,
            Some(OrderStatus::Success | OrderStatus::Completed) | None => self.reference.is_some(),
        };
        self.product_id.filter(|_| !is_indexed)
    }
}

/// Connections to a database that are kept open, and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// What tells it from other pools of the store.
    pub name: &'static str,
    /// Open connections.
    pub open: u32,
    /// Those of them that nobody uses.
    pub idle: u32,
    /// The most that it opens.
    pub max: u32,
}

impl PoolStats {
    fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> Self {
        Self {
            name,
            open: pool.size(),
            idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            max: pool.options().get_max_connections(),
        }
    }
}

/// A product whose stock is not what its history says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Imbalance {
    /// The product.
    pub product_id: ProductId,
    /// Pieces that it claims to have.
    pub stock: i64,
    /// The sum of its stock adjustments.
    pub adjusted: i64,
    /// The sum of its lines in orders that hold stock.
    pub held: i64,
}

/// Keeps products and the ledger of their stock. Archived products are gone for all but history.
#[async_trait]
pub trait ProductStore: Send + Sync {
    /// Stores a product and its initial stock.
    ///
    /// # Errors
    /// [`Error::SkuTaken`].
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error>;

    /// A living product.
    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error>;

    /// The living product that has this sku.
    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error>;

    /// Living products, newest first.
    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error>;

    /// Changes a living product; a change of stock is entered in the ledger as `adjustment_id`.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`], [`Error::SkuTaken`].
    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error>;

    /// Adds to or takes from a living product's stock; when an earlier adjustment has the same
    /// key, gives the product as it is.
    ///
    /// # Errors
    /// [`Error::InsufficientStock`], [`Error::StockLimit`], [`Error::IdempotencyKeyReused`].
    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error>;

    /// Archives a product; whether a living one was there.
    async fn archive_product(&self, id: ProductId, at: DateTime<Utc>) -> Result<bool, Error>;

    /// Makes the names that somebody wrote past this version as easy to find as all others: an
    /// older version that is still running, or a person. How many those were. What is locked is
    /// left for the next time.
    async fn fold_names(&self) -> Result<u64, Error> {
        Ok(0)
    }
}

/// Keeps orders, and decides them under the locks of their products.
#[async_trait]
pub trait OrderStore: Send + Sync {
    /// Stores orders as pending, all in one transaction, at the prices of now. Each has a
    /// result of its own, in the order given: one that is refused does not touch the others.
    /// An order whose id is already stored is answered as it is stored; one whose key an
    /// earlier order has, with that one, as it was when it was accepted.
    ///
    /// # Errors
    /// Within: [`Error::ProductNotFound`], [`Error::IdempotencyKeyReused`].
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error>;

    /// Decides orders first come, first served, in the order given, and stores those that
    /// succeed. Each has a result of its own; a refused one leaves no trace, its key included.
    /// One whose key an earlier order has is answered with that one, as it was when it was sold.
    ///
    /// # Errors
    /// Within: [`Error::ProductNotFound`], [`Error::InsufficientStock`],
    /// [`Error::IdempotencyKeyReused`]; [`Error::ProductContended`] for each that contains a product
    /// that cannot be locked for now: nothing was done, and it may have its turn when that
    /// [`contention`](Self::contention) has ended. [`Error::Locked`] when somebody is using the key
    /// of one of them: nothing was done.
    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error>;

    /// The products that cannot be locked for now, where a store sets their orders aside instead of
    /// waiting.
    fn contention(&self) -> Option<Arc<Contention>> {
        None
    }

    /// Decides pending orders, first come, first served by id, and stores the decisions.
    async fn decide(
        &self,
        pick: Pick<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error>;

    /// An order with its lines.
    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error>;

    /// Where orders stand, in any order; ids that are not there are left out.
    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error>;

    /// Orders with their lines, newest first.
    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error>;

    /// Cancels a pending or successful order and gives back what it held. One that is
    /// cancelled already is answered as it is.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it failed or is completed; [`Error::StockLimit`] when a
    /// product was stocked up so far that what comes back does not fit;
    /// [`Error::IdempotencyKeyReused`].
    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error>;

    /// Up to `limit` orders after the one that is named, if one is, that have been pending for
    /// `age`, by the clock of the store, oldest first: what the sweeper offers again.
    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error>;

    /// How much is pending.
    async fn backlog(&self) -> Result<Backlog, Error>;
}

/// A database: products and orders, and whatever else it keeps.
///
/// [`ProductStore`], [`OrderStore`] and [`verify`](Self::verify) are all that it takes to sell and to
/// pass the conformance suite. Each further trait is a handle of its own; where a database has none,
/// the service answers [`Error::Unsupported`] to calls that need it.
#[async_trait]
pub trait Store: ProductStore + OrderStore {
    /// The keys of an API.
    fn key_store(self: Arc<Self>) -> Option<Arc<dyn KeyStore>> {
        None
    }

    /// The post-sale tasks.
    fn task_store(self: Arc<Self>) -> Option<Arc<dyn TaskStore>> {
        None
    }

    /// The heartbeats of workers, which learn from it what is paused.
    fn worker_store(self: Arc<Self>) -> Option<Arc<dyn WorkerStore>> {
        None
    }

    /// The figures for operators.
    fn stats_store(self: Arc<Self>) -> Option<Arc<dyn StatsStore>> {
        None
    }

    /// The queue with leases that this database can be. Its topic `process` holds the tasks,
    /// and it says which topics are paused.
    fn queue(&self) -> Option<Arc<dyn OrderQueue>> {
        None
    }

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Fails when the database does not take writes now: what a purchase needs.
    async fn check_writable(&self) -> Result<(), Error> {
        self.ping().await
    }

    /// Gives back what it holds of the disk and has no more use for; asked every few seconds.
    async fn reclaim_disk(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Closes its connections: nothing is asked of it after. What is committed is durable
    /// without it.
    async fn close(&self) {}

    /// Brings the schema up to date; safe when several processes start at once.
    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Every product whose books do not balance, from one consistent view, also under load:
    /// `stock = Σ adjustments − Σ lines of orders that hold stock`.
    async fn verify(&self) -> Result<Vec<Imbalance>, Error>;

    /// The connections that it keeps open.
    fn pools(&self) -> Vec<PoolStats> {
        Vec::new()
    }
}

/// Connects to the database that `url` names: `postgres://…` or `sqlite://path`, a file that is
/// made when it is not there. Nothing is migrated yet.
///
/// # Errors
/// [`Error::Invalid`] that names `database_url`, [`Error::Unavailable`] or [`Error::Backend`].
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, Error> {
    open(url, false).await
}

/// The same for whoever only reads: makes no file.
///
/// # Errors
/// As [`connect`]; [`Error::Invalid`] also when there is no such file.
pub async fn connect_existing(url: &str) -> Result<Arc<dyn Store>, Error> {
    open(url, true).await
}

async fn open(url: &str, is_there: bool) -> Result<Arc<dyn Store>, Error> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(
            PostgresStore::connect(url, PostgresOptions::default()).await?,
        )),
        Some(("sqlite", _)) => {
            let store = if is_there {
                SqliteStore::connect_existing(url).await?
            } else {
                SqliteStore::connect(url).await?
            };
            Ok(Arc::new(store))
        }
        _ => Err(Error::invalid(
            "database_url",
            "must start with postgres:// or sqlite://",
        )),
    }
}
