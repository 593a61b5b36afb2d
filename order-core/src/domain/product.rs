//! Products and what changes their stock.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    AdjustmentId, IdempotencyKey, Money, ProductId, RuleViolation, SaleTerms, ValidationError,
    sale_terms::in_micros, text,
};

/// The most that a product may have in stock.
pub const MAX_STOCK: i64 = 1_000_000_000_000;

/// A product that can be sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// The merchant's own code, unique among active products.
    pub sku: Option<String>,
    /// Its name.
    pub name: String,
    /// The price of one piece.
    pub price: Money,
    /// Pieces left, 0..=[`MAX_STOCK`].
    pub stock: i64,
    /// The terms on which it is sold.
    #[serde(flatten)]
    pub terms: SaleTerms,
    /// Grows with every change, a sale included.
    pub version: i64,
    /// The time at which it was created.
    pub created_at: DateTime<Utc>,
    /// The time of its last change.
    pub updated_at: DateTime<Utc>,
}

impl Product {
    /// Checks that the product is at one of the `expected` versions. Without any, every one will do.
    ///
    /// # Errors
    /// [`RuleViolation::VersionMismatch`] when it is at none of them.
    pub fn check_version(&self, expected: &[i64]) -> Result<(), RuleViolation> {
        match expected.first() {
            Some(&first) if !expected.contains(&self.version) => {
                Err(RuleViolation::VersionMismatch {
                    expected: first,
                    actual: self.version,
                })
            }
            _ => Ok(()),
        }
    }
}

/// A product to create: checked, without an id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductRequest {
    pub(crate) sku: Option<String>,
    pub(crate) name: String,
    pub(crate) price: Money,
    pub(crate) stock: i64,
    pub(crate) terms: SaleTerms,
}

impl ProductRequest {
    /// # Errors
    /// [`ValidationError`] that names `sku`, `name`, `price` or `stock`.
    pub fn new(
        name: impl Into<String>,
        price: Money,
        stock: i64,
        sku: Option<String>,
    ) -> Result<Self, ValidationError> {
        Ok(Self {
            sku: sku.map(checked_sku).transpose()?,
            name: checked_name(name.into())?,
            price: price.checked_price()?,
            stock: checked_stock(stock)?,
            terms: SaleTerms::default(),
        })
    }

    /// The same product, sold on these terms.
    ///
    /// # Errors
    /// As [`SaleTerms::checked`].
    pub fn on_terms(mut self, terms: SaleTerms) -> Result<Self, ValidationError> {
        self.terms = terms.checked()?;
        Ok(self)
    }

    /// The product to store, with its id and the id of its initial stock's adjustment.
    #[must_use]
    pub fn into_new_product(
        self,
        id: ProductId,
        adjustment_id: AdjustmentId,
        created_at: DateTime<Utc>,
    ) -> NewProduct {
        NewProduct {
            id,
            adjustment_id,
            request: self,
            created_at,
        }
    }
}

/// A product about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProduct {
    pub(crate) id: ProductId,
    pub(crate) adjustment_id: AdjustmentId,
    pub(crate) request: ProductRequest,
    pub(crate) created_at: DateTime<Utc>,
}

impl NewProduct {
    /// The product as it is right after it was stored.
    #[must_use]
    pub fn into_product(self) -> Product {
        Product {
            id: self.id,
            sku: self.request.sku,
            name: self.request.name,
            price: self.request.price,
            stock: self.request.stock,
            terms: self.request.terms,
            version: 1,
            created_at: self.created_at,
            updated_at: self.created_at,
        }
    }
}

/// A change of some of a product's fields; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductChange {
    pub(crate) sku: Option<Option<String>>,
    pub(crate) name: Option<String>,
    pub(crate) price: Option<Money>,
    pub(crate) stock: Option<i64>,
    pub(crate) limit_per_customer: Option<Option<i64>>,
    pub(crate) on_sale_from: Option<Option<DateTime<Utc>>>,
    pub(crate) on_sale_until: Option<Option<DateTime<Utc>>>,
    pub(crate) expected_versions: Vec<i64>,
}

impl ProductChange {
    /// Sets the sku, or removes it.
    ///
    /// # Errors
    /// [`ValidationError`] that names `sku`.
    pub fn sku(mut self, sku: Option<String>) -> Result<Self, ValidationError> {
        self.sku = Some(sku.map(checked_sku).transpose()?);
        Ok(self)
    }

    /// Sets the name.
    ///
    /// # Errors
    /// [`ValidationError`] that names `name`.
    pub fn name(mut self, name: impl Into<String>) -> Result<Self, ValidationError> {
        self.name = Some(checked_name(name.into())?);
        Ok(self)
    }

    /// Sets the price.
    ///
    /// # Errors
    /// [`ValidationError`] that names `price`.
    pub fn price(mut self, price: Money) -> Result<Self, ValidationError> {
        self.price = Some(price.checked_price()?);
        Ok(self)
    }

    /// Sets the stock to an absolute count.
    ///
    /// # Errors
    /// [`ValidationError`] that names `stock`.
    pub fn stock(mut self, stock: i64) -> Result<Self, ValidationError> {
        self.stock = Some(checked_stock(stock)?);
        Ok(self)
    }

    /// Sets the most pieces that one customer may have, or removes that limit.
    ///
    /// # Errors
    /// [`ValidationError`] that names `limit_per_customer`.
    pub fn limit_per_customer(mut self, limit: Option<i64>) -> Result<Self, ValidationError> {
        let terms = SaleTerms {
            limit_per_customer: limit,
            ..SaleTerms::default()
        };
        self.limit_per_customer = Some(terms.checked()?.limit_per_customer);
        Ok(self)
    }

    /// Sets the time at which its sale begins, in whole microseconds, or removes it.
    #[must_use]
    pub fn on_sale_from(mut self, from: Option<DateTime<Utc>>) -> Self {
        self.on_sale_from = Some(from.map(in_micros));
        self
    }

    /// Sets the time at which its sale ends, in whole microseconds, or removes it.
    #[must_use]
    pub fn on_sale_until(mut self, until: Option<DateTime<Utc>>) -> Self {
        self.on_sale_until = Some(until.map(in_micros));
        self
    }

    /// Applies the change only to this version of the product; when called several times, to one
    /// of these versions.
    #[must_use]
    pub fn expect_version(mut self, version: i64) -> Self {
        self.expected_versions.push(version);
        self
    }

    /// True when it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            sku: None,
            name: None,
            price: None,
            stock: None,
            limit_per_customer: None,
            on_sale_from: None,
            on_sale_until: None,
            expected_versions: _,
        } = self
        else {
            return false;
        };
        true
    }

    /// `product` with this change applied at `at`.
    ///
    /// # Errors
    /// [`RuleViolation::VersionMismatch`] when the product is at none of the expected versions;
    /// [`RuleViolation::SaleWindow`] when its sale would end before it begins.
    pub fn apply(&self, mut product: Product, at: DateTime<Utc>) -> Result<Product, RuleViolation> {
        product.check_version(&self.expected_versions)?;
        if let Some(sku) = &self.sku {
            product.sku.clone_from(sku);
        }
        if let Some(name) = &self.name {
            product.name.clone_from(name);
        }
        product.price = self.price.unwrap_or(product.price);
        product.stock = self.stock.unwrap_or(product.stock);
        let terms = &mut product.terms;
        terms.limit_per_customer = self.limit_per_customer.unwrap_or(terms.limit_per_customer);
        terms.on_sale_from = self.on_sale_from.unwrap_or(terms.on_sale_from);
        terms.on_sale_until = self.on_sale_until.unwrap_or(terms.on_sale_until);
        if terms.checked().is_err() {
            return Err(RuleViolation::SaleWindow);
        }
        product.version += 1;
        product.updated_at = at;
        Ok(product)
    }
}

/// A relative change of stock: checked, without an id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockRequest {
    delta: i64,
    reason: Option<String>,
    key: Option<IdempotencyKey>,
    expected_versions: Vec<i64>,
}

impl StockRequest {
    /// # Errors
    /// [`ValidationError`] that names `delta` (0, or beyond ±[`MAX_STOCK`]) or `reason`.
    pub fn new(delta: i64, reason: Option<String>) -> Result<Self, ValidationError> {
        if delta == 0 || !(-MAX_STOCK..=MAX_STOCK).contains(&delta) {
            return Err(ValidationError::new(
                "delta",
                "must be from -1000000000000 to 1000000000000 and not 0",
            ));
        }
        let reason = reason
            .map(|r| text::bounded("reason", r, 1, 255))
            .transpose()?;
        Ok(Self {
            delta,
            reason,
            key: None,
            expected_versions: Vec::new(),
        })
    }

    /// The same request, to be carried out only at this version of the product; when called
    /// several times, at one of these versions.
    #[must_use]
    pub fn expect_version(mut self, version: i64) -> Self {
        self.expected_versions.push(version);
        self
    }

    /// The same request, to be carried out once however often it comes with this key.
    #[must_use]
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The adjustment of `product_id` to store.
    #[must_use]
    pub fn into_adjustment(
        self,
        id: AdjustmentId,
        product_id: ProductId,
        created_at: DateTime<Utc>,
    ) -> StockAdjustment {
        StockAdjustment {
            id,
            product_id,
            delta: self.delta,
            reason: self.reason.unwrap_or_else(|| "adjusted".to_owned()),
            created_at,
            key: self.key,
            expected_versions: self.expected_versions,
        }
    }
}

/// One entry of the append-only ledger of stock that did not come from orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockAdjustment {
    /// Its id.
    pub id: AdjustmentId,
    /// The product whose stock it changes.
    pub product_id: ProductId,
    /// The pieces that it adds or takes; 0 for a change of something else, or no initial stock.
    pub delta: i64,
    /// The reason.
    pub reason: String,
    /// The time of the change.
    pub created_at: DateTime<Utc>,
    /// The key of the request for it.
    pub key: Option<IdempotencyKey>,
    /// The versions of the product at one of which it is made; at any, when there are none.
    pub expected_versions: Vec<i64>,
}

impl StockAdjustment {
    /// The initial stock of a product.
    pub(crate) fn initial(product: &NewProduct) -> Self {
        Self {
            id: product.adjustment_id,
            product_id: product.id,
            delta: product.request.stock,
            reason: "initial".to_owned(),
            created_at: product.created_at,
            key: None,
            expected_versions: Vec::new(),
        }
    }

    /// The entry that takes `product`, as it is now, from `stock_before` to its stock.
    pub(crate) fn set(id: AdjustmentId, stock_before: i64, product: &Product) -> Self {
        Self {
            id,
            product_id: product.id,
            delta: product.stock - stock_before,
            reason: "updated".to_owned(),
            created_at: product.updated_at,
            key: None,
            expected_versions: Vec::new(),
        }
    }

    /// `product` with this adjustment applied.
    ///
    /// # Errors
    /// [`RuleViolation::InsufficientStock`] when stock would fall below zero,
    /// [`RuleViolation::StockLimit`] when it would pass [`MAX_STOCK`],
    /// [`RuleViolation::VersionMismatch`] when the product is at none of the expected versions.
    pub fn apply(&self, mut product: Product) -> Result<Product, RuleViolation> {
        product.check_version(&self.expected_versions)?;
        let stock = product.stock + self.delta;
        if stock < 0 {
            return Err(RuleViolation::InsufficientStock {
                product_id: product.id,
                requested: -self.delta,
                available: product.stock,
            });
        }
        if stock > MAX_STOCK {
            return Err(RuleViolation::StockLimit {
                product_id: product.id,
            });
        }
        product.stock = stock;
        product.version += 1;
        product.updated_at = self.created_at;
        Ok(product)
    }
}

fn checked_sku(sku: String) -> Result<String, ValidationError> {
    text::visible("sku", &sku, 1, 64)
}

fn checked_name(name: String) -> Result<String, ValidationError> {
    text::bounded("name", name, 1, 255)
}

fn checked_stock(stock: i64) -> Result<i64, ValidationError> {
    if (0..=MAX_STOCK).contains(&stock) {
        Ok(stock)
    } else {
        Err(ValidationError::new(
            "stock",
            "must be from 0 to 1000000000000",
        ))
    }
}
