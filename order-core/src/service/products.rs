//! Products: reading, creating, changing and archiving them.

use chrono::{DateTime, Utc};

use super::{OrderService, storable::storable};
use crate::{
    cache::{CacheStats, CacheStatus},
    domain::{
        AdjustmentId, Page, PageRequest, Product, ProductChange, ProductId, ProductRequest,
        Replayable, StockEntry, StockEntryId, StockRequest, composed,
    },
    error::Error,
    store::ProductQuery,
};

impl OrderService {
    /// Creates a product.
    ///
    /// # Errors
    /// [`Error::SkuTaken`].
    pub async fn create_product(&self, request: ProductRequest) -> Result<Product, Error> {
        let now = self.now();
        let product = request.into_new_product(
            ProductId(self.inner.ids.next(now)),
            self.adjustment_id(now),
            now,
        );
        self.run_to_completion(
            move |inner| async move { inner.products.create_product(&product).await },
        )
        .await
    }

    /// An active product.
    ///
    /// # Errors
    /// The backend's.
    pub async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        self.inner.products.product(id).await
    }

    /// The active product that has this sku.
    ///
    /// # Errors
    /// The backend's.
    pub async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        storable("sku", Some(sku))?;
        let sku = composed(sku.trim().to_owned());
        self.inner.products.product_with_sku(&sku).await
    }

    /// An active product, and the source of the read.
    ///
    /// # Errors
    /// The backend's; a cache that fails is passed by.
    pub async fn read_product(
        &self,
        id: ProductId,
    ) -> Result<(Option<Product>, CacheStatus), Error> {
        match &self.inner.cached {
            Some(cached) => cached.read(id).await,
            None => Ok((self.inner.products.product(id).await?, CacheStatus::Bypass)),
        }
    }

    /// The reads of the cache since the process started; `None` without a cache.
    #[must_use]
    pub fn cache_stats(&self) -> Option<CacheStats> {
        self.inner.cached.as_ref().map(|cached| cached.stats())
    }

    /// Active products, newest first unless the query says otherwise.
    ///
    /// # Errors
    /// The backend's.
    pub async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        storable("search", query.search.as_deref())?;
        storable("sku", query.sku.as_deref())?;
        self.inner.products.products(query).await
    }

    /// Changes an active product.
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
        self.run_to_completion(move |inner| async move {
            inner
                .products
                .update_product(id, &change, adjustment_id, now)
                .await
        })
        .await
    }

    /// Adds to or takes from an active product's stock; once, when the request has a key.
    ///
    /// # Errors
    /// [`Error::InsufficientStock`], [`Error::StockLimit`], [`Error::VersionMismatch`],
    /// [`Error::IdempotencyKeyReused`].
    pub async fn adjust_stock(
        &self,
        id: ProductId,
        request: StockRequest,
    ) -> Result<Option<Product>, Error> {
        let adjusted = self.adjust_stock_or_replay(id, request).await?;
        Ok(adjusted.map(|adjusted| adjusted.value))
    }

    /// As [`adjust_stock`](Self::adjust_stock), and says if an earlier request with the same
    /// key did it.
    ///
    /// # Errors
    /// The same.
    pub async fn adjust_stock_or_replay(
        &self,
        id: ProductId,
        request: StockRequest,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let now = self.now();
        let adjustment = request.into_adjustment(self.adjustment_id(now), id, now);
        self.run_to_completion(move |inner| async move {
            inner.products.adjust_stock(&adjustment).await
        })
        .await
    }

    /// The history of the stock of an active product, the newest entry first; `None` when there is no
    /// such product. Pages continue after an entry, and have no numbers.
    ///
    /// # Errors
    /// The backend's.
    pub async fn stock_history(
        &self,
        id: ProductId,
        page: &PageRequest<StockEntryId>,
    ) -> Result<Option<Page<StockEntry, StockEntryId>>, Error> {
        if self.product(id).await?.is_none() {
            return Ok(None);
        }
        self.inner.products.stock_history(id, page).await.map(Some)
    }

    /// The same history in sums: all changes of one kind within a minute, the newest first.
    ///
    /// # Errors
    /// The backend's.
    pub async fn stock_history_by_minute(
        &self,
        id: ProductId,
        page: &PageRequest<StockEntryId>,
    ) -> Result<Option<Page<StockEntry, StockEntryId>>, Error> {
        if self.product(id).await?.is_none() {
            return Ok(None);
        }
        let products = &self.inner.products;
        products.stock_history_by_minute(id, page).await.map(Some)
    }

    /// Archives a product; true when an active one was there.
    ///
    /// # Errors
    /// The backend's.
    pub async fn archive_product(&self, id: ProductId) -> Result<bool, Error> {
        self.archive_product_at(id, Vec::new()).await
    }

    /// As [`archive_product`](Self::archive_product), if the product is at one of these versions; at
    /// any, when there are none.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`].
    pub async fn archive_product_at(
        &self,
        id: ProductId,
        expected_versions: Vec<i64>,
    ) -> Result<bool, Error> {
        let now = self.now();
        self.run_to_completion(move |inner| async move {
            let products = &inner.products;
            products.archive_product(id, &expected_versions, now).await
        })
        .await
    }

    fn adjustment_id(&self, now: DateTime<Utc>) -> AdjustmentId {
        AdjustmentId(self.inner.ids.next(now))
    }
}
