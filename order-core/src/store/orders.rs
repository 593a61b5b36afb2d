//! The trait that keeps orders.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{contention::Contention, strategy::Strategy};
use crate::{
    decision::Decided,
    domain::{
        ClientId, HoldTime, IdempotencyKey, NewOrder, Order, OrderId, OrderReturn, OrderStatus,
        OrderVersion, Page, PageRequest, Product, ProductId, Progress, Sort, TimeRange,
    },
    error::Error,
};

/// Which pending orders to decide.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// Up to so many of the oldest that nobody else is deciding.
    Oldest(usize),
    /// These; the ones that are not pending (any more) are passed over, and those that cannot be
    /// locked are put off.
    ByIds(&'a [OrderId]),
}

/// The results of orders, and the products that changed with them.
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
    pub(super) fn new(results: Vec<T>, changed: Vec<Product>) -> Self {
        Self {
            results,
            changed,
            ..Self::default()
        }
    }

    /// Adds what a later transaction did; of a product, the later state counts.
    pub(super) fn extend(&mut self, later: Self) {
        self.results.extend(later.results);
        self.put_off.extend(later.put_off);
        let again = |product: &Product| later.changed.iter().any(|p| p.id == product.id);
        self.changed.retain(|product| !again(product));
        self.changed.extend(later.changed);
    }
}

/// The amount of what is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The number of orders, counted up to [`COUNT_LIMIT`](crate::queue::COUNT_LIMIT).
    pub orders: u64,
    /// The time for which the oldest has been pending, by the clock of the store.
    pub oldest_age: Option<Duration>,
}

/// A cancelled order, and the products that got stock back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// The order.
    pub order: Order,
    /// Those of them that are living, as they are after the commit.
    pub changed: Vec<Product>,
    /// An earlier request with the same key cancelled it.
    pub replayed: bool,
}

impl Cancelled {
    /// It was cancelled before.
    pub(super) fn before(order: Order, replayed: bool) -> Self {
        Self {
            order,
            changed: Vec::new(),
            replayed,
        }
    }
}

/// A place among the holds that lapse, in the order of their ends.
pub type LapsedAt = (DateTime<Utc>, OrderId);

/// Holds that were looked at since their time was over.
#[derive(Clone, Debug, Default)]
pub struct Expired {
    /// The orders that expired. What somebody holds locked is left for later.
    pub orders: Vec<OrderId>,
    /// The living products that got stock back, as they are after the commit.
    pub changed: Vec<Product>,
    /// The place of the last that was looked at, when there may be more behind it.
    pub next: Option<LapsedAt>,
}

/// The result of one purchase.
pub type Purchase = Result<Order, Error>;

/// Which orders to list. The filters that are given must all match.
#[derive(Clone, Debug, Default)]
pub struct OrderQuery {
    /// In this state.
    pub status: Option<OrderStatus>,
    /// With a line of this product.
    pub product_id: Option<ProductId>,
    /// With exactly this reference.
    pub reference: Option<String>,
    /// For exactly this customer.
    pub customer: Option<String>,
    /// Created in this range of times.
    pub created: TimeRange,
    /// Placed by this client.
    pub client: Option<ClientId>,
    /// In which order.
    pub sort: Sort,
    /// Which page.
    pub page: PageRequest<OrderId>,
}

impl OrderQuery {
    /// The product along whose lines the orders are best found: unless there is a filter with
    /// an index of its own, the orders of a product that is rarely sold lie far apart.
    pub(crate) fn along_product(&self) -> Option<ProductId> {
        let is_indexed = match self.status {
            Some(
                OrderStatus::Pending
                | OrderStatus::Held
                | OrderStatus::Failed
                | OrderStatus::Expired
                | OrderStatus::Cancelled,
            ) => true,
            Some(OrderStatus::Success | OrderStatus::Completed) | None => {
                self.reference.is_some() || self.customer.is_some()
            }
        };
        self.product_id.filter(|_| !is_indexed)
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
        selection: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error>;

    /// An order with its lines.
    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error>;

    /// The progress of orders, in any order; ids that are not there are left out.
    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error>;

    /// Orders with their lines.
    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error>;

    /// Cancels an order and gives back what it held. One of which nothing is left is answered as it
    /// is. One that is completed stays so, and gave everything back.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it failed or expired; [`Error::StockLimit`] when a
    /// product was stocked up so far that what comes back does not fit;
    /// [`Error::IdempotencyKeyReused`].
    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error>;

    /// As [`cancel`](Self::cancel), if the order is at one of these versions; at any, when there are
    /// none.
    ///
    /// # Errors
    /// The same, and [`Error::OrderChanged`] when it is at another; [`Error::Unsupported`] by a store
    /// that does not compare them.
    async fn cancel_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Cancelled>, Error> {
        if expected_versions.is_empty() {
            return self.cancel(id, at, key).await;
        }
        let what = "versions of orders";
        Err(Error::Unsupported { what })
    }

    /// Gives back part of an order that holds stock: what is left of it stays held or sold, and when
    /// nothing is left, it is cancelled, unless it is completed.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it holds no stock; [`Error::Invalid`] that names the line that the
    /// order does not have, or has too little left of; [`Error::StockLimit`];
    /// [`Error::IdempotencyKeyReused`]; [`Error::OrderChanged`] when it is at none of the versions that
    /// are expected; [`Error::Unsupported`] by a store that cancels only whole
    /// orders.
    async fn give_back(&self, _returned: &OrderReturn) -> Result<Option<Cancelled>, Error> {
        let what = "what was cancelled of an order";
        Err(Error::Unsupported { what })
    }

    /// Tells whether it keeps holds: whether an order may ask to be held.
    fn keeps_holds(&self) -> bool {
        false
    }

    /// Confirms held orders at `at`, which makes them sold; each has a result of its own, in the
    /// order given, and `None` when it is not there. One that was confirmed before is answered as it
    /// is.
    ///
    /// # Errors
    /// Within: [`Error::HoldExpired`] when the time of the hold is over, by the clock of the store,
    /// whether somebody has expired it or not; [`Error::OrderState`] when it is not held. Of all:
    /// [`Error::Locked`] when somebody holds one of several orders locked, so that they are to be
    /// confirmed one by one.
    async fn confirm(
        &self,
        _ids: &[OrderId],
        _at: DateTime<Utc>,
    ) -> Result<Vec<Result<Option<Order>, Error>>, Error> {
        Err(Error::Unsupported { what: "holds" })
    }

    /// Confirms one order as [`confirm`](Self::confirm) does, if it is at one of these versions; at any,
    /// when there are none.
    ///
    /// # Errors
    /// The same, and [`Error::OrderChanged`] when it is at another; [`Error::Unsupported`] by a store
    /// that does not compare them.
    async fn confirm_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        if expected_versions.is_empty() {
            let confirmed = self.confirm(&[id], at).await?.pop();
            return confirmed.unwrap_or(Ok(None));
        }
        let what = "versions of orders";
        Err(Error::Unsupported { what })
    }

    /// Holds an order for so long from now on, by the clock of the store, or for as long as it is held
    /// already, if that is longer.
    ///
    /// # Errors
    /// As [`confirm`](Self::confirm); [`Error::Invalid`] that names `hold_seconds` when it would be
    /// held for more than a day in all.
    async fn extend(&self, _id: OrderId, _hold_time: HoldTime) -> Result<Option<Order>, Error> {
        Err(Error::Unsupported { what: "holds" })
    }

    /// As [`extend`](Self::extend), if the order is at one of these versions; at any, when there are
    /// none.
    ///
    /// # Errors
    /// The same, and [`Error::OrderChanged`] when it is at another; [`Error::Unsupported`] by a store
    /// that does not compare them.
    async fn extend_if(
        &self,
        id: OrderId,
        hold_time: HoldTime,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        if expected_versions.is_empty() {
            return self.extend(id, hold_time).await;
        }
        let what = "versions of orders";
        Err(Error::Unsupported { what })
    }

    /// Expires up to `limit` held orders whose time is over, by the clock of the store, and gives back
    /// what they held: those whose holds ended first, after the place that is named, if one is.
    async fn expire(
        &self,
        _after: Option<LapsedAt>,
        _limit: usize,
        _at: DateTime<Utc>,
    ) -> Result<Expired, Error> {
        Ok(Expired::default())
    }

    /// Up to `limit` orders after the one that is named, if one is, that have been pending for
    /// `age`, by the clock of the store, oldest first: what the sweeper offers again.
    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error>;

    /// The amount of what is pending.
    async fn backlog(&self) -> Result<Backlog, Error>;
}
