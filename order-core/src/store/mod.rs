//! Where products and orders live: the traits, and their Postgres and SQLite implementations.
//!
//! Each method is one atomic step: it has happened wholly or not at all when it returns,
//! it is durable when it returns `Ok`, and no transaction is ever handed out. Ids and
//! times come from the caller, so that a step whose commit was in doubt can be made again
//! with the same ids and finds itself already done.

mod error;
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

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    clock::Clock,
    decide::Decision,
    domain::{
        AdjustmentId, NewOrder, NewProduct, Order, OrderId, OrderStatus, Page, PageRequest,
        Product, ProductChange, ProductId, Progress, StockAdjustment,
    },
    error::Error,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
    worker::WorkerStore,
};

#[cfg(feature = "bench")]
pub(crate) use postgres::steps as postgres_statements;
pub use postgres::{PostgresOptions, PostgresStore};
pub use sqlite::SqliteStore;
pub use strategy::Strategy;

/// Which pending orders to decide.
#[derive(Clone, Copy, Debug)]
pub enum Pick<'a> {
    /// Up to so many of the oldest that nobody else is deciding.
    Oldest(usize),
    /// These; the ones that are not pending (any more) are passed over.
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
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self {
            results: Vec::new(),
            changed: Vec::new(),
        }
    }
}

impl<T> Outcome<T> {
    /// Adds what a later transaction did; of a product, the later state counts.
    fn extend(&mut self, later: Self) {
        self.results.extend(later.results);
        let again = |product: &Product| later.changed.iter().any(|p| p.id == product.id);
        self.changed.retain(|product| !again(product));
        self.changed.extend(later.changed);
    }
}

/// How much is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many orders, counted up to [`MAX_COUNTED`](crate::queue::MAX_COUNTED).
    pub orders: u64,
    /// When the oldest of them was accepted.
    pub oldest_at: Option<DateTime<Utc>>,
}

/// A cancelled order, and the products that got stock back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// The order.
    pub order: Order,
    /// Those of them that are living, as they are after the commit.
    pub changed: Vec<Product>,
}

/// What became of one purchase.
pub type Purchase = Result<Order, Error>;

/// An order, and what was decided.
pub type Decided = (OrderId, Decision);

/// Which products to list.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// A case-insensitive part of the name, taken literally.
    pub search: Option<String>,
    /// Which page.
    pub page: PageRequest<ProductId>,
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

    /// Adds to or takes from a living product's stock.
    ///
    /// # Errors
    /// [`Error::InsufficientStock`], [`Error::StockLimit`].
    async fn adjust_stock(&self, adjustment: &StockAdjustment) -> Result<Option<Product>, Error>;

    /// Archives a product; whether a living one was there.
    async fn archive_product(&self, id: ProductId, at: DateTime<Utc>) -> Result<bool, Error>;
}

/// Keeps orders, and decides them under the locks of their products.
#[async_trait]
pub trait OrderStore: Send + Sync {
    /// Stores orders as pending, all in one transaction, at the prices of now. Each has a
    /// result of its own, in the order given: one that is refused does not touch the others.
    /// An order whose id is already stored is answered as it is stored.
    ///
    /// # Errors
    /// Within: [`Error::ProductNotFound`].
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error>;

    /// Decides orders first come, first served, in the order given, and stores those that
    /// succeed. Each has a result of its own; a refused one leaves no trace.
    ///
    /// # Errors
    /// Within: [`Error::ProductNotFound`], [`Error::InsufficientStock`].
    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error>;

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
    /// product was stocked up so far that what comes back does not fit.
    async fn cancel(&self, id: OrderId, at: DateTime<Utc>) -> Result<Option<Cancelled>, Error>;

    /// Up to `limit` orders that were accepted before `before` and are still pending, oldest
    /// first: what the sweeper offers again.
    async fn pending_before(
        &self,
        before: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error>;

    /// How much is pending.
    async fn backlog(&self) -> Result<Backlog, Error>;
}

/// A database that keeps everything.
#[async_trait]
pub trait Store:
    ProductStore + OrderStore + KeyStore + TaskStore + WorkerStore + StatsStore
{
    /// The queue with leases that this database can be. Its topic `process` holds the tasks,
    /// and whether a topic is paused is what it says.
    fn queue(&self, clock: Arc<dyn Clock>) -> Arc<dyn OrderQueue>;

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), Error>;

    /// Brings the schema up to date; safe when several processes start at once.
    async fn migrate(&self) -> Result<(), Error>;

    /// Every product whose books do not balance, from one consistent view, also under load:
    /// `stock = Σ adjustments − Σ lines of orders that hold stock`.
    async fn verify(&self) -> Result<Vec<Imbalance>, Error>;
}

/// Connects to the database that `url` names: `postgres://…` or `sqlite://path`.
/// Nothing is migrated yet.
///
/// # Errors
/// [`Error::Invalid`] that names `database_url`, [`Error::Unavailable`] or [`Error::Backend`].
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, Error> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(
            PostgresStore::connect(url, PostgresOptions::default()).await?,
        )),
        Some(("sqlite", _)) => Ok(Arc::new(SqliteStore::connect(url).await?)),
        _ => Err(Error::invalid(
            "database_url",
            "must start with postgres:// or sqlite://",
        )),
    }
}
