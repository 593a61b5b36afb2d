//! The refusal of a change that a rule of products or orders forbids.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{HoldTime, Money, OrderStatus, ProductId, ends_too_early};

/// A change of a product or an order breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleViolation {
    /// No active product has this id.
    #[error("product {0} not found")]
    ProductNotFound(ProductId),
    /// The product changed since the caller read it.
    #[error("product is at version {actual}, not {expected}")]
    VersionMismatch {
        /// The version that the caller named.
        expected: i64,
        /// The version that the product has.
        actual: i64,
    },
    /// The order changed since the caller read it.
    #[error("order is not at the version that was named")]
    OrderChanged,
    /// The product has less left than was asked for.
    #[error("product {product_id} has {available} left, {requested} requested")]
    InsufficientStock {
        /// The product.
        product_id: ProductId,
        /// Pieces asked for.
        requested: i64,
        /// Pieces left.
        available: i64,
    },
    /// The product's stock would pass [`MAX_STOCK`](super::MAX_STOCK).
    #[error("stock of product {product_id} would pass its limit")]
    StockLimit {
        /// The product.
        product_id: ProductId,
    },
    /// The order's state does not allow the change.
    #[error("order is {status}")]
    OrderState {
        /// The state that the order is in.
        status: OrderStatus,
    },
    /// The time of the order's hold is over.
    #[error("the hold of the order expired at {}", rfc3339(*held_until))]
    HoldExpired {
        /// The time at which it ended.
        held_until: DateTime<Utc>,
    },
    /// The order would be held for longer than a day in all.
    #[error("hold_seconds {}", too_long())]
    HoldLimit,
    /// The sale of the product would end before it begins.
    #[error("on_sale_until {}", ends_too_early())]
    SaleWindow,
    /// A line of a return names a product that the order does not contain.
    #[error("lines[{line}].product_id is not in the order")]
    NotInOrder {
        /// The place of the line, from 0.
        line: usize,
    },
    /// A line of a return asks for more than is left of the order.
    #[error("lines[{line}].quantity is more than the {left} that are left")]
    MoreThanLeft {
        /// The place of the line, from 0.
        line: usize,
        /// The pieces that are left of its product.
        left: i64,
    },
    /// The order's total would be more than 64 bits hold.
    #[error("total_price {}", too_large())]
    TotalLimit,
}

/// A time as it stands on the wire.
pub(crate) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// What is wrong with a hold that would take too long.
pub(crate) fn too_long() -> String {
    let most = HoldTime::MAX_SECONDS;
    format!("would hold the order for more than {most} seconds in all")
}

/// What is wrong with a total that does not fit.
pub(crate) fn too_large() -> String {
    let most = Money::from_minor_units(i64::MAX).unwrap_or_default();
    format!("would be more than {most}")
}
