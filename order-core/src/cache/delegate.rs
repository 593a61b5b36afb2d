//! The cache as a store of products and orders: changes put their products into the cache, and
//! reads of a product go through it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{CacheMark, CachedStore};
use crate::{
    decision::Decided,
    domain::{
        AdjustmentId, HoldTime, IdempotencyKey, NewOrder, NewProduct, Order, OrderId, OrderReturn,
        OrderVersion, Page, PageRequest, Product, ProductChange, ProductId, Progress, Replayable,
        StockAdjustment, StockEntry, StockEntryId,
    },
    error::Error,
    store::{
        Backlog, Cancelled, Contention, Expired, LapsedAt, OrderQuery, OrderStore, Outcome,
        ProductQuery, ProductStore, Purchase, Selection, Strategy,
    },
};

#[async_trait]
impl ProductStore for CachedStore {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        // Nobody has read it yet: the first who does fills the cache.
        self.inner.create_product(product).await
    }

    async fn create_products(
        &self,
        products: &[NewProduct],
    ) -> Result<Vec<Result<Product, Error>>, Error> {
        self.inner.create_products(products).await
    }

    async fn products_named(
        &self,
        skus: &[String],
        ids: &[ProductId],
    ) -> Result<Vec<Product>, Error> {
        self.inner.products_named(skus, ids).await
    }

    async fn update_products(
        &self,
        changes: &[(ProductId, ProductChange, AdjustmentId)],
        at: DateTime<Utc>,
    ) -> Result<Vec<Result<Product, Error>>, Error> {
        let mark = self.mark();
        let changed = self.inner.update_products(changes, at).await;
        let changed = self.invalidate_if_unknown(changed, changes.iter().map(|(id, ..)| *id))?;
        let products: Vec<Product> = changed.iter().flatten().cloned().collect();
        self.changed_products(&products, mark).await;
        Ok(changed)
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
        let changed = self.invalidate_if_unknown(changed, std::iter::once(id))?;
        self.changed_products(changed.as_slice(), mark).await;
        Ok(changed)
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let mark = self.mark();
        let adjusted = self.inner.adjust_stock(adjustment).await;
        let adjusted =
            self.invalidate_if_unknown(adjusted, std::iter::once(adjustment.product_id))?;
        if let Some(adjusted) = &adjusted {
            let product = std::slice::from_ref(&adjusted.value);
            self.changed_products(product, mark).await;
        }
        Ok(adjusted)
    }

    async fn archive_product(
        &self,
        id: ProductId,
        expected_versions: &[i64],
        at: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let mark = self.mark();
        let archived = self.inner.archive_product(id, expected_versions, at).await;
        let archived = self.invalidate_if_unknown(archived, std::iter::once(id))?;
        if archived {
            self.archived(id, mark).await;
        }
        Ok(archived)
    }

    async fn stock_history(
        &self,
        id: ProductId,
        page: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        self.inner.stock_history(id, page).await
    }

    async fn stock_history_by_minute(
        &self,
        id: ProductId,
        page: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        self.inner.stock_history_by_minute(id, page).await
    }

    async fn fold_names(&self) -> Result<u64, Error> {
        self.inner.fold_names().await
    }
}

impl CachedStore {
    /// Puts the products into the cache that got stock back from an order.
    async fn cancelled(
        &self,
        cancelled: Result<Option<Cancelled>, Error>,
        mark: CacheMark,
    ) -> Result<Option<Cancelled>, Error> {
        let cancelled = self.invalidate_all_if_unknown(cancelled)?;
        if let Some(cancelled) = &cancelled {
            self.changed_products(&cancelled.changed, mark).await;
            let lines = cancelled.order.lines.iter().map(|line| line.product_id);
            self.invalidate_missing(lines, &cancelled.changed);
        }
        Ok(cancelled)
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
        let outcome = self.invalidate_if_unknown(outcome, wanted.map(|line| line.product_id))?;
        self.changed_products(&outcome.changed, mark).await;
        let sold = outcome
            .results
            .iter()
            .flatten()
            .flat_map(|order| &order.lines);
        self.invalidate_missing(sold.map(|line| line.product_id), &outcome.changed);
        Ok(outcome)
    }

    async fn decide(
        &self,
        pick: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        let mark = self.mark();
        let outcome = self.inner.decide(pick, strategy, at).await;
        let outcome = self.invalidate_all_if_unknown(outcome)?;
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
        self.cancel_if(id, at, key, &[]).await
    }

    async fn cancel_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Cancelled>, Error> {
        let mark = self.mark();
        let cancelled = self.inner.cancel_if(id, at, key, expected_versions).await;
        self.cancelled(cancelled, mark).await
    }

    async fn give_back(&self, returned: &OrderReturn) -> Result<Option<Cancelled>, Error> {
        let mark = self.mark();
        let cancelled = self.inner.give_back(returned).await;
        self.cancelled(cancelled, mark).await
    }

    fn keeps_holds(&self) -> bool {
        self.inner.keeps_holds()
    }

    async fn confirm(
        &self,
        ids: &[OrderId],
        at: DateTime<Utc>,
    ) -> Result<Vec<Result<Option<Order>, Error>>, Error> {
        self.inner.confirm(ids, at).await
    }

    async fn confirm_if(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        self.inner.confirm_if(id, at, expected_versions).await
    }

    async fn extend(&self, id: OrderId, hold_time: HoldTime) -> Result<Option<Order>, Error> {
        self.inner.extend(id, hold_time).await
    }

    async fn extend_if(
        &self,
        id: OrderId,
        hold_time: HoldTime,
        expected_versions: &[OrderVersion],
    ) -> Result<Option<Order>, Error> {
        let inner = &self.inner;
        inner.extend_if(id, hold_time, expected_versions).await
    }

    async fn expire(
        &self,
        after: Option<LapsedAt>,
        limit: usize,
        at: DateTime<Utc>,
    ) -> Result<Expired, Error> {
        let mark = self.mark();
        let expired = self.inner.expire(after, limit, at).await;
        let expired = self.invalidate_all_if_unknown(expired)?;
        self.changed_products(&expired.changed, mark).await;
        Ok(expired)
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
