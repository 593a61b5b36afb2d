//! Products as they look on the wire.

use order_core::domain::Product;
use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::wire::{Amount, Time, given, present};

/// A product to create.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct CreateProduct {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) name: String,
    /// Below 100000000.00, with at most two decimals; a number or a string.
    pub(super) price: Amount,
    /// Pieces to sell.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    pub(super) stock: i64,
    /// Your own code for it, unique among living products; 1 to 64 characters.
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) sku: Option<String>,
}

/// A product with all of its fields; without `stock`, its stock stays.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct ReplaceProduct {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) name: String,
    /// Below 100000000.00, with at most two decimals; a number or a string.
    pub(super) price: Amount,
    /// The absolute count of pieces.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    pub(super) stock: Option<i64>,
}

/// Some fields of a product; what is left out stays.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct PatchProduct {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    #[serde(default, deserialize_with = "given")]
    pub(super) name: Option<String>,
    /// Below 100000000.00, with at most two decimals; a number or a string.
    #[serde(default, deserialize_with = "given")]
    pub(super) price: Option<Amount>,
    /// The absolute count of pieces.
    #[serde(default, deserialize_with = "given")]
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000")))]
    pub(super) stock: Option<i64>,
    /// `null` removes it.
    #[serde(default, deserialize_with = "present")]
    #[oai(validator(min_length = 1, max_length = 64))]
    pub(super) sku: Option<Option<String>>,
}

/// A relative change of stock.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(deny_unknown_fields)]
pub(super) struct AdjustStock {
    /// Pieces to add, or to take when negative; not 0.
    #[oai(validator(minimum(value = "-1000000000000"), maximum(value = "1000000000000")))]
    pub(super) delta: i64,
    /// Why; up to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(super) reason: Option<String>,
}

/// A product.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "Product")]
pub(super) struct ProductBody {
    id: Uuid,
    sku: Option<String>,
    name: String,
    price: Amount,
    /// Pieces left.
    stock: i64,
    /// Grows with every change, a sale included.
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
            stock: product.stock,
            version: product.version,
            created_at: product.created_at,
            updated_at: product.updated_at,
        }
    }
}

/// A page of products, newest first.
#[derive(Debug, Serialize, Object)]
pub(super) struct ProductPage {
    pub(super) items: Vec<ProductBody>,
    /// Gives the next page; `null` at the end.
    pub(super) next_cursor: Option<String>,
    /// With `page`: how many there are, counted up to 10000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub(super) total: Option<u64>,
}
