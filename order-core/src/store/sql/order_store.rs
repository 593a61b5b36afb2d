//! Every SQL database as a store of orders.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    accept, cancel,
    decide::{self, ClaimSteps},
    holds,
    lockable::ContentionSteps,
    orders,
    purchase::{self, PurchaseSteps},
    retry::{reading, reading_at_once},
};
use crate::{
    decision::Decided,
    domain::{
        HoldTime, IdempotencyKey, NewOrder, Order, OrderId, OrderReturn, OrderVersion, Page,
        Progress,
    },
    error::Error,
    store::{
        contention::Contention,
        orders::{
            Backlog, Cancelled, Expired, LapsedAt, OrderQuery, OrderStore, Outcome, Purchase,
            Selection,
        },
        strategy::Strategy,
    },
};

#[async_trait]
impl<B: ClaimSteps + PurchaseSteps> OrderStore for B {
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        accept::accept(self, orders).await
    }

    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error> {
        purchase::purchase(self, orders, strategy).await
    }

    fn contention(&self) -> Option<Arc<Contention>> {
        ContentionSteps::contention(self).cloned()
    }

    async fn decide(
        &self,
        selection: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        decide::decide(self, selection, strategy, at).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        reading(self, || orders::order(self, id)).await
    }

    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        reading_at_once(self, || orders::progress(self, ids)).await
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        reading(self, || orders::list(self, query)).await
    }

    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error> {
        self.cancel_if(id, at, key, &[]).await
    }

    async fn cancel_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Cancelled>, Error> {
        cancel::cancel(self, id, at, key, expected_versions).await
    }

    async fn give_back(&self, returned: &OrderReturn) -> Result<Option<Cancelled>, Error> {
        cancel::give_back(self, returned).await
    }

    fn keeps_holds(&self) -> bool {
        true
    }

    async fn confirm(
        &self,
        ids: &[OrderId],
        at: DateTime<Utc>,
    ) -> Result<Vec<Result<Option<Order>, Error>>, Error> {
        holds::confirm(self, ids, at).await
    }

    async fn confirm_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        holds::confirm_if(self, id, at, expected_versions).await
    }

    async fn extend(&self, id: OrderId, hold_time: HoldTime) -> Result<Option<Order>, Error> {
        self.extend_if(id, hold_time, &[]).await
    }

    async fn extend_if(
        &self,
        id: OrderId,
        hold_time: HoldTime,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        holds::extend(self, id, hold_time, expected_versions).await
    }

    async fn expire(
        &self,
        after: Option<LapsedAt>,
        limit: usize,
        at: DateTime<Utc>,
    ) -> Result<Expired, Error> {
        holds::expire(self, after, limit, at).await
    }

    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error> {
        reading_at_once(self, || orders::pending_for(self, age, after, limit)).await
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        reading_at_once(self, || orders::backlog(self)).await
    }
}
