//! Orders: placing both ways, reading and cancelling them.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::{
    OrderService,
    detached::spawn_detached,
    run_group::{GROUP_ORDERS, only, responses, run_group},
    storable::storable,
};
use crate::{
    domain::{
        IdempotencyKey, NewOrder, Order, OrderId, OrderMode, OrderRequest, Page, Replayable,
        ReturnId, ReturnRequest, composed,
    },
    error::Error,
    store::{Cancelled, OrderQuery, Strategy},
    trace,
};

/// The most groups of one bulk that may be under way at once: one is written while another is
/// prepared or waits for the disk. Groups of single requests gain nothing by it: they would
/// only be smaller.
const BULK_GROUPS: usize = 2;

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
        let trace = trace::current();
        let requests = requests.into_iter().map(|request| request.in_trace(trace));
        let requests = requests.collect();
        let accepted = spawn_detached(async move {
            let orders = inner.new_orders(requests);
            let groups = orders.chunks(GROUP_ORDERS).map(<[NewOrder]>::to_vec);
            let results = stream::iter(groups)
                .map(|group| {
                    let inner = Arc::clone(&inner);
                    async move {
                        let results = run_group(&inner, OrderMode::Accept, &group).await;
                        responses(&group, results).collect::<Vec<_>>()
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

    /// As [`purchase`](Self::purchase), and says if an earlier request with the same key did
    /// it. The order comes as it was then: just sold.
    ///
    /// # Errors
    /// The same.
    pub async fn purchase_or_replay(
        &self,
        request: OrderRequest,
    ) -> Result<Replayable<Order>, Error> {
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

    /// Orders, newest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        storable("reference", query.reference.as_deref())?;
        let mut query = query.clone();
        query.reference = query.reference.map(composed);
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
        let now = self.now();
        let cancelled = self
            .run_to_completion(move |inner| async move {
                inner.orders.cancel(id, now, key.as_ref()).await
            })
            .await?;
        Ok(self.after_cancelling(cancelled))
    }

    /// Gives back part of a sold or completed order: its stock, and what it costs. When nothing is left
    /// of a sold one, it is cancelled; a completed one stays so.
    ///
    /// # Errors
    /// [`Error::OrderState`] when it holds no stock; [`Error::Invalid`] that names the line that it does
    /// not have, or has too little left of; [`Error::StockLimit`], [`Error::IdempotencyKeyReused`].
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
