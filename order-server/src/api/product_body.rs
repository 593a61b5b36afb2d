//! Products as they look on the wire.

use order_core::{
    domain::{Product, ProductChange, ValidationError},
    watch::LiveProduct,
};
use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::wire::{Amount, Time, Whole, currency, given, present};
use crate::http::object::read_from_objects;

/// A product to create.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
pub(super) struct CreateProduct {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) name: String,
    /// Up to 15 digits, with no more decimals than the currency has; a number or a string.
    pub(super) price: Amount,
    /// Pieces in stock.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    pub(super) stock: Whole,
    /// Your own code for the product, unique among products that are not archived; 1 to 64
    /// characters.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) sku: Option<String>,
    /// The most pieces that one customer may have.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub(super) limit_per_customer: Option<Whole>,
    /// The time at which its sale begins.
    pub(super) on_sale_from: Option<Time>,
    /// The time at which its sale ends.
    pub(super) on_sale_until: Option<Time>,
}

/// All fields of a product; without `stock`, its stock stays as it is.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
pub(super) struct ReplaceProduct {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) name: String,
    /// Up to 15 digits, with no more decimals than the currency has; a number or a string.
    pub(super) price: Amount,
    /// New number of pieces in stock.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    pub(super) stock: Option<Whole>,
    /// The most pieces that one customer may have; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub(super) limit_per_customer: Option<Option<Whole>>,
    /// The time at which its sale begins; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    pub(super) on_sale_from: Option<Option<Time>>,
    /// The time at which its sale ends; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    pub(super) on_sale_until: Option<Option<Time>>,
}

/// Fields of a product to change; those left out stay as they are.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
pub(super) struct PatchProduct {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    #[serde(default, deserialize_with = "given")]
    pub(super) name: Option<String>,
    /// Up to 15 digits, with no more decimals than the currency has; a number or a string.
    #[serde(default, deserialize_with = "given")]
    pub(super) price: Option<Amount>,
    /// New number of pieces in stock.
    #[serde(default, deserialize_with = "given")]
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    pub(super) stock: Option<Whole>,
    /// New sku; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) sku: Option<Option<String>>,
    /// The most pieces that one customer may have; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub(super) limit_per_customer: Option<Option<Whole>>,
    /// The time at which its sale begins; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    pub(super) on_sale_from: Option<Option<Time>>,
    /// The time at which its sale ends; `null` removes it.
    #[serde(default, deserialize_with = "present")]
    pub(super) on_sale_until: Option<Option<Time>>,
}

/// Changes the terms on which a product is sold; what is not given stays.
pub(super) fn on_terms(
    mut change: ProductChange,
    limit_per_customer: Option<Option<Whole>>,
    on_sale_from: Option<Option<Time>>,
    on_sale_until: Option<Option<Time>>,
) -> Result<ProductChange, ValidationError> {
    if let Some(limit) = limit_per_customer {
        change = change.limit_per_customer(limit.map(|limit| limit.0))?;
    }
    if let Some(from) = on_sale_from {
        change = change.on_sale_from(from);
    }
    if let Some(until) = on_sale_until {
        change = change.on_sale_until(until);
    }
    Ok(change)
}

/// A relative change of stock.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields, remote = "Self")]
#[oai(deny_unknown_fields)]
pub(super) struct AdjustStock {
    /// Pieces to add; a negative number takes them away; not 0.
    #[oai(validator(minimum(value = "-1000000000000"), maximum(value = "1000000000000")))]
    pub(super) delta: Whole,
    /// Why the stock changes; up to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) reason: Option<String>,
}

read_from_objects!(CreateProduct, ReplaceProduct, PatchProduct, AdjustStock);

/// A product.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Product")]
pub(super) struct ProductBody {
    id: Uuid,
    sku: Option<String>,
    name: String,
    price: Amount,
    /// Currency of the price: its code of ISO 4217.
    #[oai(validator(pattern = "^[A-Z]{3}$"))]
    currency: String,
    /// Pieces in stock.
    stock: i64,
    /// The most pieces that one customer may have; `null` without a limit.
    limit_per_customer: Option<i64>,
    /// The time at which its sale begins; `null` if it has begun.
    on_sale_from: Option<Time>,
    /// The time at which its sale ends; `null` if it does not.
    on_sale_until: Option<Time>,
    /// Increases with every change, sales included.
    version: i64,
    created_at: Time,
    updated_at: Time,
}

impl From<Product> for ProductBody {
    fn from(product: Product) -> Self {
        Self {
            id: product.id.0,
            sku: product.sku,
            name: product.name,
            price: Amount(product.price),
            currency: currency(),
            stock: product.stock,
            limit_per_customer: product.terms.limit_per_customer,
            on_sale_from: product.terms.on_sale_from,
            on_sale_until: product.terms.on_sale_until,
            version: product.version,
            created_at: product.created_at,
            updated_at: product.updated_at,
        }
    }
}

/// What changes of a product until it is archived.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "LiveProduct")]
pub(super) struct LiveBody {
    id: Uuid,
    price: Amount,
    /// Currency of the price: its code of ISO 4217.
    #[oai(validator(pattern = "^[A-Z]{3}$"))]
    currency: String,
    /// Pieces in stock.
    stock: i64,
    /// The most pieces that one customer may have; `null` without a limit.
    limit_per_customer: Option<i64>,
    /// The time at which its sale begins; `null` if it has begun.
    on_sale_from: Option<Time>,
    /// The time at which its sale ends; `null` if it does not.
    on_sale_until: Option<Time>,
    /// Increases with every change, sales included.
    pub(super) version: i64,
    updated_at: Time,
}

impl From<LiveProduct> for LiveBody {
    fn from(product: LiveProduct) -> Self {
        Self {
            id: product.id.0,
            price: Amount(product.price),
            currency: currency(),
            stock: product.stock,
            limit_per_customer: product.terms.limit_per_customer,
            on_sale_from: product.terms.on_sale_from,
            on_sale_until: product.terms.on_sale_until,
            version: product.version,
            updated_at: product.updated_at,
        }
    }
}

/// A page of products.
#[derive(Debug, Serialize, Object)]
pub(super) struct ProductPage {
    pub(super) items: Vec<ProductBody>,
    /// Cursor of the next page; `null` on the last page.
    pub(super) next_cursor: Option<String>,
    /// Only with `page`: the total number, counted up to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub(super) total: Option<u64>,
}
