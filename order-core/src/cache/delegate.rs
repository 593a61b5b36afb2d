//! The traits of a store, before which the cache stands: what changes something tells the
//! cache, and what reads a product asks it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::CachedStore;
use crate::{
    domain::{
        AdjustmentId, IdempotencyKey, KeyId, NewOrder, NewProduct, Order, OrderId, Page, Product,
        ProductChange, ProductId, Progress, Replayable, StockAdjustment,
    },
    error::Error,
    keys::{Access, ApiKey, HashedKey, KeyStore},
    process::{Claim, Claimed, Ended, TaskHistory, TaskStatus, TaskStore},
    queue::{OrderQueue, Topic},
    stats::{HotProduct, StatsStore, Tallies, Wait, Waiting},
    store::{
        Backlog, Cancelled, Contention, Decided, OrderQuery, OrderStore, Outcome, PoolStats,
        ProductQuery, ProductStore, Purchase, Selection, StockDiscrepancy, Store, Strategy,
    },
    worker::{Heartbeat, KnownWorker, WorkerStore},
};

#[async_trait]
impl ProductStore for CachedStore {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        // Nobody has read it yet: the first who does fills the cache.
        self.inner.create_product(product).await
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        Ok(self.read(id).await?.0)
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        self.inner.product_with_sku(sku).await
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        self.inner.products(query).await
    }

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        let mark = self.mark();
        let changed = self
            .inner
            .update_product(id, change, adjustment_id, at)
            .await;
        let changed = self.unless_unknown(changed, std::iter::once(id))?;
        self.changed_products(changed.as_slice(), mark).await;
        Ok(changed)
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let mark = self.mark();
        let adjusted = self.inner.adjust_stock(adjustment).await;
        let adjusted = self.unless_unknown(adjusted, std::iter::once(adjustment.product_id))?;
        if let Some(adjusted) = &adjusted {
            let product = std::slice::from_ref(&adjusted.value);
            self.changed_products(product, mark).await;
        }
        Ok(adjusted)
    }

    async fn archive_product(&self, id: ProductId, at: DateTime<Utc>) -> Result<bool, Error> {
        let mark = self.mark();
        let archived = self.inner.archive_product(id, at).await;
        let archived = self.unless_unknown(archived, std::iter::once(id))?;
        if archived {
            self.archived(id, mark).await;
        }
        Ok(archived)
    }

    async fn fold_names(&self) -> Result<u64, Error> {
        self.inner.fold_names().await
    }
}

#[async_trait]
impl OrderStore for CachedStore {
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        self.inner.accept(orders).await
    }

    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error> {
        let mark = self.mark();
        let outcome = self.inner.purchase(orders, strategy).await;
        let wanted = orders.iter().flat_map(|order| &order.lines);
        let outcome = self.unless_unknown(outcome, wanted.map(|line| line.product_id))?;
        self.changed_products(&outcome.changed, mark).await;
        let sold = outcome
            .results
            .iter()
            .flatten()
            .flat_map(|order| &order.lines);
        self.suspect_missing(sold.map(|line| line.product_id), &outcome.changed);
        Ok(outcome)
    }

    async fn decide(
        &self,
        pick: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        let mark = self.mark();
        let outcome = self.inner.decide(pick, strategy, at).await?;
        self.changed_products(&outcome.changed, mark).await;
        Ok(outcome)
    }

    fn contention(&self) -> Option<Arc<Contention>> {
        self.inner.contention()
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        self.inner.order(id).await
    }

    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        self.inner.progress(ids).await
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        self.inner.orders(query).await
    }

    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error> {
        let mark = self.mark();
        let cancelled = self.inner.cancel(id, at, key).await?;
        if let Some(cancelled) = &cancelled {
            self.changed_products(&cancelled.changed, mark).await;
            let lines = cancelled.order.lines.iter().map(|line| line.product_id);
            self.suspect_missing(lines, &cancelled.changed);
        }
        Ok(cancelled)
    }

    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error> {
        self.inner.pending_for(age, after, limit).await
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        self.inner.backlog().await
    }
}

#[async_trait]
impl KeyStore for CachedStore {
    async fn create_key(&self, key: &HashedKey) -> Result<(), Error> {
        self.inner.create_key(key).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        self.inner.keys().await
    }

    async fn revoke_key(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error> {
        self.inner.revoke_key(id, at).await
    }

    async fn access(&self) -> Result<Access, Error> {
        self.inner.access().await
    }
}

/// What follows a sale changes no product.
#[async_trait]
impl TaskStore for CachedStore {
    async fn claim_tasks(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        self.inner.claim_tasks(claim).await
    }

    async fn end_tasks(&self, ended: &[Ended], at: DateTime<Utc>) -> Result<u64, Error> {
        self.inner.end_tasks(ended, at).await
    }

    async fn put_task(&self, id: OrderId) -> Result<Option<TaskStatus>, Error> {
        self.inner.put_task(id).await
    }

    async fn task_history(&self, id: OrderId) -> Result<Option<TaskHistory>, Error> {
        self.inner.task_history(id).await
    }
}

#[async_trait]
impl WorkerStore for CachedStore {
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Vec<Topic>, Error> {
        self.inner.heartbeat(beat).await
    }

    async fn workers(&self) -> Result<Vec<KnownWorker>, Error> {
        self.inner.workers().await
    }
}

#[async_trait]
impl StatsStore for CachedStore {
    async fn tallies(&self, window: Duration) -> Result<Tallies, Error> {
        self.inner.tallies(window).await
    }

    async fn fold_tallies(&self, ahead: Duration) -> Result<u64, Error> {
        self.inner.fold_tallies(ahead).await
    }

    async fn oldest_pending(&self) -> Result<Option<Waiting>, Error> {
        self.inner.oldest_pending().await
    }

    async fn waits(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error> {
        self.inner.waits(before, orders).await
    }

    async fn hot_products(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error> {
        self.inner.hot_products(orders, limit).await
    }
}

#[async_trait]
impl Store for CachedStore {
    fn queue(&self) -> Arc<dyn OrderQueue> {
        self.inner.queue()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }

    async fn reclaim_disk(&self) -> Result<(), Error> {
        self.inner.reclaim_disk().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn check_writable(&self) -> Result<(), Error> {
        self.inner.check_writable().await
    }

    async fn migrate(&self) -> Result<(), Error> {
        self.inner.migrate().await
    }

    async fn verify(&self) -> Result<Vec<StockDiscrepancy>, Error> {
        self.inner.verify().await
    }

    fn pools(&self) -> Vec<PoolStats> {
        self.inner.pools()
    }
}
