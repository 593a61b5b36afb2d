//! The trait that keeps products.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    domain::{
        AdjustmentId, Money, NewProduct, Page, PageRequest, Product, ProductChange, ProductId,
        Replayable, Sort, StockAdjustment, StockEntry, StockEntryId, TimeRange, folded,
    },
    error::Error,
};

/// Which products to list. The filters that are given must all match. Where a store has to look
/// through many products, a page may hold fewer than were asked for, and even none, and still say
/// where the next one begins.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// A part of the name, taken literally, and in any case: see [`folded`].
    pub search: Option<String>,
    /// With exactly this sku.
    pub sku: Option<String>,
    /// One of these.
    pub ids: Option<Vec<ProductId>>,
    /// At this price or a higher one.
    pub min_price: Option<Money>,
    /// At this price or a lower one.
    pub max_price: Option<Money>,
    /// With pieces left, or without any.
    pub in_stock: Option<bool>,
    /// Created in this range of times.
    pub created: TimeRange,
    /// In which order.
    pub sort: Sort,
    /// Which page.
    pub page: PageRequest<ProductId>,
}

impl ProductQuery {
    /// Tells whether a living product is one of those that are asked for, by whatever page.
    #[must_use]
    pub fn matches(&self, product: &Product) -> bool {
        let has_part = |part: String| folded(&product.name).contains(&part);
        let Self { ids, sku, .. } = self;
        sku.as_ref()
            .is_none_or(|sku| product.sku.as_ref() == Some(sku))
            && ids.as_ref().is_none_or(|ids| ids.contains(&product.id))
            && self.min_price.is_none_or(|least| least <= product.price)
            && self.max_price.is_none_or(|most| product.price <= most)
            && self
                .in_stock
                .is_none_or(|is_left| is_left == (product.stock > 0))
            && self.created.contains(product.created_at)
            && self.folded_part().is_none_or(has_part)
    }

    /// Tells whether a page is found by the order of ids and a part of the name alone.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn is_plain(&self) -> bool {
        let Self {
            search: _,
            sku: None,
            ids: None,
            min_price: None,
            max_price: None,
            in_stock: None,
            created:
                TimeRange {
                    from: None,
                    until: None,
                },
            sort: _,
            page: _,
        } = self
        else {
            return false;
        };
        true
    }

    /// The fold of the part of a name that is looked for, if any: an empty one is in every name.
    pub(crate) fn folded_part(&self) -> Option<String> {
        let part = self.search.as_deref().map(folded);
        part.filter(|part| !part.is_empty())
    }
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

    /// The living products that have one of these skus or ids, in any order.
    async fn products_named(
        &self,
        skus: &[String],
        ids: &[ProductId],
    ) -> Result<Vec<Product>, Error> {
        let mut found = Vec::new();
        for sku in skus {
            found.extend(self.product_with_sku(sku).await?);
        }
        for id in ids {
            found.extend(self.product(*id).await?);
        }
        Ok(found)
    }

    /// Stores many products as [`create_product`](Self::create_product) does one, in one transaction
    /// if the store can: one whose sku is taken keeps no other from being stored.
    async fn create_products(
        &self,
        products: &[NewProduct],
    ) -> Result<Vec<Result<Product, Error>>, Error> {
        let mut created = Vec::with_capacity(products.len());
        for product in products {
            created.push(self.create_product(product).await);
        }
        Ok(created)
    }

    /// Changes many products, none of them twice, as [`update_product`](Self::update_product) does
    /// one, in one transaction if the store can. It waits for no product:
    /// [`Error::Locked`] says that one is not there or in use, and left to `update_product`.
    async fn update_products(
        &self,
        changes: &[(ProductId, ProductChange, AdjustmentId)],
        at: DateTime<Utc>,
    ) -> Result<Vec<Result<Product, Error>>, Error> {
        let mut changed = Vec::with_capacity(changes.len());
        for (id, change, adjustment_id) in changes {
            let product = self.update_product(*id, change, *adjustment_id, at).await;
            changed.push(product.and_then(|product| product.ok_or(Error::Locked)));
        }
        Ok(changed)
    }

    /// Living products.
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
    /// [`Error::InsufficientStock`], [`Error::StockLimit`], [`Error::VersionMismatch`],
    /// [`Error::IdempotencyKeyReused`].
    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error>;

    /// Archives a product, if it is at one of these versions (at any, when there are none); whether
    /// a living one was there.
    ///
    /// # Errors
    /// [`Error::VersionMismatch`].
    async fn archive_product(
        &self,
        id: ProductId,
        expected_versions: &[i64],
        at: DateTime<Utc>,
    ) -> Result<bool, Error>;

    /// The history of a product's stock, the newest entry first; the whole of it adds up to the stock.
    /// Pages have no numbers.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by a store that does not tell it.
    async fn stock_history(
        &self,
        _id: ProductId,
        _page: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        let what = "a history of stock";
        Err(Error::Unsupported { what })
    }

    /// The same history in sums: all changes of one kind within a minute, the newest first. A change
    /// belongs to the minute of the time in its id, as it has its place by its id. A page may be
    /// shorter than it could be.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by a store that does not tell it.
    async fn stock_history_by_minute(
        &self,
        _id: ProductId,
        _page: &PageRequest<StockEntryId>,
    ) -> Result<Page<StockEntry, StockEntryId>, Error> {
        let what = "a history of stock by minutes";
        Err(Error::Unsupported { what })
    }

    /// Makes the names that somebody wrote past this version as easy to find as all others: an
    /// older version that is still running, or a person. How many those were. What is locked is
    /// left for the next time.
    async fn fold_names(&self) -> Result<u64, Error> {
        Ok(0)
    }
}
