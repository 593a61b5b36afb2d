//! Every SQL database as a store of products.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    filtered_products,
    lockable::when_lockable,
    names, product_batches,
    products::{self, ProductSteps},
    retry::{Retry, reading, with_retry},
    stock_history,
    value::Value,
};
use crate::{
    domain::{
        AdjustmentId, NewProduct, Page, PageRequest, Product, ProductChange, ProductId, Replayable,
        StockAdjustment, StockEntry, StockEntryId,
    },
    error::Error,
    store::products::{ProductQuery, ProductStore},
};

#[async_trait]
impl<B: ProductSteps> ProductStore for B {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        with_retry(self, |attempt| products::create(self, product, attempt)).await
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        reading(self, || {
            products::find(self, products::PRODUCT, Value::Id(id.0))
        })
        .await
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        reading(self, || {
            products::find(self, products::PRODUCT_WITH_SKU, Value::text(sku))
        })
        .await
    }

    async fn products_named(
        &self,
        skus: &[String],
        ids: &[ProductId],
    ) -> Result<Vec<Product>, Error> {
        reading(self, || product_batches::named(self, skus, ids)).await
    }

    async fn create_products(
        &self,
        products: &[NewProduct],
    ) -> Result<Vec<Result<Product, Error>>, Error> {
        with_retry(self, |attempt| {
            product_batches::create(self, products, attempt)
        })
        .await
    }

    async fn update_products(
        &self,
        changes: &[(ProductId, ProductChange, AdjustmentId)],
        at: DateTime<Utc>,
    ) -> Result<Vec<Result<Product, Error>>, Error> {
        let mut retry = Retry::reporting(|_| true);
        let changed = retry.run(self, |attempt| {
            product_batches::update(self, changes, at, attempt)
        });
        match changed.await {
            Err(error) if Self::lock_failure(&error).is_some() => {
                Ok(changes.iter().map(|_| Err(Error::Locked)).collect())
            }
            changed => changed,
        }
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        let is_plain = query.is_plain();
        let searches = query.sku.is_none() && (!is_plain || query.folded_part().is_some());
        let _turn = if searches {
            Some(self.gates().searches.enter().await?)
        } else {
            None
        };
        if is_plain {
            return reading(self, || products::list(self, query)).await;
        }
        reading(self, || filtered_products::list(self, query)).await
    }

    async fn stock_history(
        &self,
        id: ProductId,
        page: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        reading(self, || stock_history::list(self, id, page)).await
    }

    async fn stock_history_by_minute(
        &self,
        id: ProductId,
        page: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        reading(self, || stock_history::by_minute(self, id, page)).await
    }

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        adjustment_id: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        when_lockable(
            self,
            || async move { Ok(vec![id]) },
            |attempt| products::update(self, id, change, adjustment_id, at, attempt),
        )
        .await
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        when_lockable(
            self,
            || async move { Ok(vec![adjustment.product_id]) },
            |attempt| products::adjust(self, adjustment, attempt),
        )
        .await
    }

    async fn archive_product(
        &self,
        id: ProductId,
        expected_versions: &[i64],
        at: DateTime<Utc>,
    ) -> Result<bool, Error> {
        when_lockable(
            self,
            || async move { Ok(vec![id]) },
            |attempt| products::archive(self, id, expected_versions, at, attempt),
        )
        .await
    }

    async fn fold_names(&self) -> Result<u64, Error> {
        names::fold_names(self).await
    }
}
