//! Orders: placing both ways, reading and cancelling them.

use std::sync::Arc;

use super::{
    OrderService,
    detached::spawn_detached,
    inner::ServiceInner,
    run_group::{GROUP_ORDERS, only, responses, run_group},
    storable::storable,
};
use crate::{
    domain::{
        HoldTime, IdempotencyKey, Order, OrderId, OrderMode, OrderRequest, OrderVersion, Page,
        Replayable, ReturnId, ReturnRequest, composed,
    },
    error::Error,
    store::{Cancelled, OrderQuery, Strategy},
    trace,
};

impl OrderService {
    /// Accepts an order: it is stored, pending, when this returns; once, when the request has
    /// a key.
    ///
    /// # Errors
    /// [`Error::ProductNotFound`], [`Error::Overloaded`], [`Error::IdempotencyKeyReused`].
    pub async fn accept(&self, request: OrderRequest) -> Result<Order, Error> {
        let accepted = self.accept_or_replay(request).await?;
        Ok(accepted.value)
    }

    /// As [`accept`](Self::accept), and says if an earlier request with the same key did it. The
    /// order comes as it was then: pending.
    ///
    /// # Errors
    /// The same.
    pub async fn accept_or_replay(
        &self,
        request: OrderRequest,
    ) -> Result<Replayable<Order>, Error> {
        self.check_kept(&request)?;
        if self.inner.strategy == Strategy::Batch {
            return self.accepts.submit(request).await;
        }
        self.alone(OrderMode::Accept, request).await
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

    /// As [`accept_all`](Self::accept_all), and says of each if an earlier request with the
    /// same key did it.
    ///
    /// # Errors
    /// The same.
    pub async fn accept_all_or_replay(
        &self,
        requests: Vec<OrderRequest>,
    ) -> Vec<Result<Replayable<Order>, Error>> {
        let (inner, count) = (Arc::clone(&self.inner), requests.len());
        if let Some(error) = requests.iter().find_map(|r| self.check_kept(r).err()) {
            return vec![Err(error); count];
        }
        let trace = trace::current();
        let requests = requests.into_iter().map(|request| request.in_trace(trace));
        let requests = requests.collect();
        let accepted = spawn_detached(async move {
            let orders = inner.new_orders(requests);
            let mut accepted = Vec::with_capacity(orders.len());
            // One after the other: were a later group committed first, its orders would have
            // their turns first, too.
            for group in orders.chunks(GROUP_ORDERS) {
                let results = run_group(&inner, OrderMode::Accept, group).await;
                accepted.extend(responses(group, results));
            }
            Ok(accepted)
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

    /// As [`purchase`](Self::purchase), and says if an earlier request with the same key did
    /// it. The order comes as it was then: just sold.
    ///
    /// # Errors
    /// The same.
    pub async fn purchase_or_replay(
        &self,
        request: OrderRequest,
    ) -> Result<Replayable<Order>, Error> {
        self.check_kept(&request)?;
        if self.inner.strategy == Strategy::Batch {
            return self.purchases.submit(request).await;
        }
        self.alone(OrderMode::Purchase, request).await
    }

    /// An order.
    ///
    /// # Errors
    /// The backend's.
    pub async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        self.inner.orders.order(id).await
    }

    /// Orders, newest first unless the query says otherwise.
    ///
    /// # Errors
    /// The backend's.
    pub async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        storable("reference", query.reference.as_deref())?;
        let mut query = query.clone();
        storable("customer", query.customer.as_deref())?;
        query.reference = query.reference.map(composed);
        query.customer = query.customer.map(composed);
        self.inner.orders.orders(&query).await
    }

    /// Cancels an order and gives back the stock it holds; one cancelled already stays so. One that
    /// is completed stays that, and gives everything back.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it failed, [`Error::StockLimit`].
    pub async fn cancel(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let cancelled = self.cancel_or_replay(id, None).await?;
        Ok(cancelled.map(|cancelled| cancelled.value))
    }

    /// As [`cancel`](Self::cancel), and says if an earlier request with the same key did
    /// it.
    ///
    /// # Errors
    /// The same, and [`Error::IdempotencyKeyReused`].
    pub async fn cancel_or_replay(
        &self,
        id: OrderId,
        key: Option<IdempotencyKey>,
    ) -> Result<Option<Replayable<Order>>, Error> {
        self.cancel_if(id, key, Vec::new()).await
    }

    /// As [`cancel_or_replay`](Self::cancel_or_replay), if the order is at one of these versions; at
    /// any, when there are none.
    ///
    /// # Errors
    /// The same, and [`Error::OrderChanged`], [`Error::Unsupported`].
    pub async fn cancel_if(
        &self,
        id: OrderId,
        key: Option<IdempotencyKey>,
        expected_versions: Vec<OrderVersion>,
    ) -> Result<Option<Replayable<Order>>, Error> {
        let now = self.now();
        let cancel = async move |inner: Arc<ServiceInner>| {
            let orders = &inner.orders;
            orders
                .cancel_if(id, now, key.as_ref(), &expected_versions)
                .await
        };
        let cancelled = self.run_to_completion(cancel).await?;
        Ok(self.after_cancelling(cancelled))
    }

    /// Gives back part of a held, sold or completed order: its stock, and what it costs. When nothing
    /// is left of a held or sold one, it is cancelled; a completed one stays so.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it holds no stock; [`Error::Invalid`] that names the line that it does
    /// not have, or has too little left of; [`Error::StockLimit`], [`Error::IdempotencyKeyReused`],
    /// [`Error::OrderChanged`].
    pub async fn give_back(
        &self,
        id: OrderId,
        request: ReturnRequest,
    ) -> Result<Option<Replayable<Order>>, Error> {
        let now = self.now();
        let returned = request.into_return(ReturnId(self.inner.ids.next(now)), id, now);
        let cancelled = self
            .run_to_completion(move |inner| async move { inner.orders.give_back(&returned).await })
            .await?;
        Ok(self.after_cancelling(cancelled))
    }

    fn after_cancelling(&self, cancelled: Option<Cancelled>) -> Option<Replayable<Order>> {
        self.watcher.wake().notify_one();
        self.inner.sold.notify_one();
        cancelled.map(|cancelled| Replayable {
            value: cancelled.order,
            replayed: cancelled.replayed,
        })
    }

    /// Confirms a held order, which makes it sold, at the prices at which it was accepted; one that was
    /// confirmed before stays so.
    ///
    /// # Errors
    /// [`Error::HoldExpired`] when its time is over, [`Error::OrderState`] when it is not held,
    /// [`Error::Overloaded`], [`Error::Unsupported`].
    pub async fn confirm(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let confirmed = self.confirmations.submit(id).await;
        self.watcher.wake().notify_one();
        confirmed
    }

    /// As [`confirm`](Self::confirm), if the order is at one of these versions; at any, when there are
    /// none.
    ///
    /// # Errors
    /// The same, and [`Error::OrderChanged`].
    pub async fn confirm_if(
        &self,
        id: OrderId,
        expected_versions: Vec<OrderVersion>,
    ) -> Result<Option<Order>, Error> {
        if expected_versions.is_empty() {
            return self.confirm(id).await;
        }
        let now = self.now();
        let confirm = async move |inner: Arc<ServiceInner>| {
            inner.confirm_if(id, now, &expected_versions).await
        };
        let confirmed = self.run_to_completion(confirm).await?;
        self.watcher.wake().notify_one();
        Ok(confirmed)
    }

    /// Holds an order for so long from now on, or for as long as it is held already, if that is
    /// longer.
    ///
    /// # Errors
    /// As [`confirm`](Self::confirm); [`Error::Invalid`] that names `hold_seconds` when it would be
    /// held for more than a day in all.
    pub async fn extend(&self, id: OrderId, hold_time: HoldTime) -> Result<Option<Order>, Error> {
        self.extend_if(id, hold_time, Vec::new()).await
    }

    /// As [`extend`](Self::extend), if the order is at one of these versions; at any, when there are
    /// none.
    ///
    /// # Errors
    /// The same, and [`Error::OrderChanged`].
    pub async fn extend_if(
        &self,
        id: OrderId,
        hold_time: HoldTime,
        expected_versions: Vec<OrderVersion>,
    ) -> Result<Option<Order>, Error> {
        let extend = async move |inner: Arc<ServiceInner>| {
            let orders = &inner.orders;
            orders.extend_if(id, hold_time, &expected_versions).await
        };
        self.run_to_completion(extend).await
    }

    /// Refuses what the store does not keep.
    pub(super) fn check_kept(&self, request: &OrderRequest) -> Result<(), Error> {
        let asks = request.hold_time().is_some();
        if asks && !self.inner.orders.keeps_holds() {
            return Err(Error::Unsupported { what: "holds" });
        }
        Ok(())
    }

    /// One order in a transaction of its own, as the strategies without groups have it.
    async fn alone(
        &self,
        mode: OrderMode,
        request: OrderRequest,
    ) -> Result<Replayable<Order>, Error> {
        let (inner, permit) = (Arc::clone(&self.inner), self.admission.admit()?);
        let request = request.in_trace(trace::current());
        spawn_detached(async move {
            let orders = inner.new_orders(vec![request]);
            let results = run_group(&inner, mode, &orders).await;
            permit.batch_ended();
            only(responses(&orders, results))
        })
        .await
    }
}
