//! The failure of an order.

use std::str::FromStr;

use serde::Serialize;

use super::{ProductId, ValidationError};

/// The reason for which an order failed.
///
/// A new one also goes into [`ALL`](Self::ALL), `metrics::labels::OUTCOMES` and the counts that are zipped with
/// it, the decision of the reference store, the checks of the schema (`orders_failure_code_known`; a
/// failure there has a product, and less available than requested), the server's description of the
/// API (`overlay.json`), and the dashboard (`timeline.js`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureCode {
    /// A product had less left than the order asks for.
    InsufficientStock,
    /// A product was archived before the order's turn.
    ProductUnavailable,
}

impl FailureCode {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::InsufficientStock, Self::ProductUnavailable];

    /// Its name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientStock => "insufficient_stock",
            Self::ProductUnavailable => "product_unavailable",
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
}
