//! The failure of an order.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{OrderId, ProductId, ValidationError};

// `git grep -liE 'customer_?limit'` finds the places of one. The compiler asks for some of them.
// Nothing asks for `ALL`, `metrics::labels::OUTCOMES` and the counts that are zipped with it,
// `metrics::record::purchased` (which leaves out errors that it does not know), a migration of each
// database (`orders_failure_code_known`, `orders_failure_available_range`,
// `orders_failure_detail_matches`), and `overlay.json` and `order.js` of the server.
/// The reason for which an order failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureCode {
    /// A product had less left than the order asks for.
    InsufficientStock,
    /// A product was archived before the order's turn.
    ProductUnavailable,
    /// The sale of a product had not begun at the order's turn, or was over.
    NotOnSale,
    /// The customer would have more of a product than one may.
    CustomerLimit,
}

impl FailureCode {
    /// All reasons.
    pub const ALL: [Self; 4] = [
        Self::InsufficientStock,
        Self::ProductUnavailable,
        Self::NotOnSale,
        Self::CustomerLimit,
    ];

    /// Its name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientStock => "insufficient_stock",
            Self::ProductUnavailable => "product_unavailable",
            Self::NotOnSale => "not_on_sale",
            Self::CustomerLimit => "customer_limit",
        }
    }
}

impl FromStr for FailureCode {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| ValidationError::new("failure_code", "is unknown"))
    }
}

/// The first line, in the order of lines, whose product could not give what the order asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The kind of failure.
    pub code: FailureCode,
    /// The product.
    pub product_id: ProductId,
    /// Pieces that the whole order asks of this product.
    pub requested: i64,
    /// Pieces that were left at the order's turn.
    pub available: i64,
    /// What else there is to say, by the kind of failure.
    #[serde(flatten)]
    pub detail: Option<FailureDetail>,
}

/// What else there is to say about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FailureDetail {
    /// How much one customer may have.
    Limit {
        /// The most pieces that one customer may have.
        limit: i64,
        /// Pieces that this one has.
        has: i64,
        /// An order that holds some of them, and can be confirmed or cancelled.
        held_order: Option<OrderId>,
    },
    /// When the product is on sale.
    Window {
        /// The time at which its sale begins.
        on_sale_from: Option<DateTime<Utc>>,
        /// The time at which its sale ends.
        on_sale_until: Option<DateTime<Utc>>,
    },
}
