//! The errors of this crate, told apart by how a caller can react.

use std::{borrow::Cow, sync::Arc};

use chrono::{DateTime, Utc};

use crate::domain::{
    Failure, FailureCode, FailureDetail, OrderId, OrderStatus, ProductId, RuleViolation,
    ValidationError, ends_too_early, rfc3339, too_large, too_long,
};

/// The cause below an error, shared because one failed transaction answers a whole group.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Everything that an operation of this crate can fail with.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is out of its bounds.
    #[error("{field} {reason}")]
    Invalid {
        /// The field, as it is named on the wire.
        field: Cow<'static, str>,
        /// The reason, which reads on after the field.
        reason: Cow<'static, str>,
    },
    /// No active product has this id.
    #[error("product {0} not found")]
    ProductNotFound(ProductId),
    /// No order has this id.
    #[error("order {0} not found")]
    OrderNotFound(OrderId),
    /// Another active product has this sku.
    #[error("sku is taken by another product")]
    SkuTaken,
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
    /// The sale of the product has not begun, or is over, by the clock of the store.
    #[error("product {product_id} is not on sale{}", window(*on_sale_from, *on_sale_until))]
    NotOnSale {
        /// The product.
        product_id: ProductId,
        /// The time at which its sale begins.
        on_sale_from: Option<DateTime<Utc>>,
        /// The time at which its sale ends.
        on_sale_until: Option<DateTime<Utc>>,
    },
    /// The customer would have more of the product than one may.
    #[error(
        "one customer may have {limit} of product {product_id}, this one has {has}, {requested} \
         requested"
    )]
    CustomerLimit {
        /// The product.
        product_id: ProductId,
        /// Pieces asked for.
        requested: i64,
        /// The most pieces that one customer may have.
        limit: i64,
        /// Pieces that this one has.
        has: i64,
        /// An order that holds some of them, and can be confirmed or cancelled.
        held_order: Option<OrderId>,
    },
    /// The product's stock would pass [`MAX_STOCK`](crate::domain::MAX_STOCK).
    #[error("stock of product {product_id} would pass its limit")]
    StockLimit {
        /// The product.
        product_id: ProductId,
    },
    /// The order's state does not allow this.
    #[error("order is {status}")]
    OrderState {
        /// The state that it is in.
        status: OrderStatus,
    },
    /// The time of the order's hold is over.
    #[error("the hold of the order expired at {}", rfc3339(*held_until))]
    HoldExpired {
        /// The time at which it ended, by the clock of the store.
        held_until: DateTime<Utc>,
    },
    /// An earlier request with the same idempotency key asked for something else.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// More is waiting than the process is willing to hold; nothing was done.
    #[error("too many requests are waiting")]
    Overloaded,
    /// Somebody holds the product locked and does not let go; nothing was done.
    #[error("product {product_id} is locked by somebody else")]
    ProductContended {
        /// The product.
        product_id: ProductId,
    },
    /// Somebody holds something locked that this needs, other than a product; nothing was done.
    #[error("somebody else is at work on the same thing")]
    Locked,
    /// A file of an archive cannot be written, or is not what it has to be. No order was deleted that is
    /// not in a file.
    #[error("{file} {reason}")]
    Archive {
        /// The file, by its path.
        file: String,
        /// The reason, which reads on after the file.
        reason: String,
    },
    /// The customer has orders that are not at their end, or that have a task; nothing of them was
    /// erased.
    #[error("the customer has orders that are not at their end: {orders}")]
    OpenOrders {
        /// The number of those orders.
        orders: u64,
    },
    /// The store has no part that does this: it implements no more than it needs to sell.
    #[error("the store does not keep {what}")]
    Unsupported {
        /// The things that it would have to keep.
        what: &'static str,
    },
    /// The service is stopping; nothing was done.
    #[error("the service is stopping")]
    Stopping,
    /// The backend is away or asked to try again; nothing was done.
    #[error("backend is unavailable")]
    Unavailable {
        /// The cause.
        source: Source,
    },
    /// The queue, which is apart from the database, does not answer or refuses; nothing was done.
    #[error("queue is unavailable")]
    QueueUnavailable {
        /// The cause.
        source: Source,
    },
    /// The connection was lost while the commit was under way, or the code panicked: it may have
    /// happened. The same call with the same ids finds out and never does it twice.
    #[error("it is unknown whether it was done")]
    OutcomeUnknown {
        /// The cause.
        source: Source,
    },
    /// The backend refused, and would again.
    #[error("backend failed")]
    Backend {
        /// The cause.
        source: Source,
    },
}

/// The times of a sale, in words.
fn window(from: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>) -> String {
    let word = |word: &str, at: DateTime<Utc>| format!(" {word} {}", rfc3339(at));
    let from = from.map(|from| word("before", from));
    let until = until.map(|until| word("from", until));
    let both = from.is_some() && until.is_some();
    let and = if both { " and" } else { "" };
    let (from, until) = (from.unwrap_or_default(), until.unwrap_or_default());
    format!("{from}{and}{until}{}", if both { " on" } else { "" })
}

impl Error {
    /// A value out of its bounds.
    pub fn invalid(
        field: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// A backend's permanent failure.
    pub fn backend(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Backend {
            source: Arc::new(source),
        }
    }

    /// Stored data that this version cannot read.
    pub(crate) fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::backend(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            what.to_string(),
        ))
    }

    /// A failure of a queue that is apart from the database.
    pub(crate) fn of_the_queue(self) -> Self {
        Self::QueueUnavailable {
            source: Arc::new(self),
        }
    }

    /// The message, with every cause below it. Not for clients: it may quote a statement.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// True when the same call may succeed if it is made again.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Overloaded
                | Self::ProductContended { .. }
                | Self::Locked
                | Self::Unavailable { .. }
                | Self::QueueUnavailable { .. }
                | Self::OutcomeUnknown { .. }
        )
    }
}

impl From<ValidationError> for Error {
    fn from(error: ValidationError) -> Self {
        Self::Invalid {
            field: error.field,
            reason: error.reason,
        }
    }
}

impl From<RuleViolation> for Error {
    fn from(violation: RuleViolation) -> Self {
        match violation {
            RuleViolation::ProductNotFound(id) => Self::ProductNotFound(id),
            RuleViolation::VersionMismatch { expected, actual } => {
                Self::VersionMismatch { expected, actual }
            }
            RuleViolation::OrderChanged => Self::OrderChanged,
            RuleViolation::InsufficientStock {
                product_id,
                requested,
                available,
            } => Self::InsufficientStock {
                product_id,
                requested,
                available,
            },
            RuleViolation::StockLimit { product_id } => Self::StockLimit { product_id },
            RuleViolation::OrderState { status } => Self::OrderState { status },
            RuleViolation::HoldExpired { held_until } => Self::HoldExpired { held_until },
            RuleViolation::HoldLimit => Self::invalid("hold_seconds", too_long()),
            RuleViolation::SaleWindow => Self::invalid("on_sale_until", ends_too_early()),
            RuleViolation::NotInOrder { line } => {
                Self::invalid(format!("lines[{line}].product_id"), "is not in the order")
            }
            RuleViolation::MoreThanLeft { line, left } => Self::invalid(
                format!("lines[{line}].quantity"),
                format!("is more than the {left} that are left of the product"),
            ),
            RuleViolation::TotalLimit => Self::invalid("total_price", too_large()),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (product_id, requested) = (failure.product_id, failure.requested);
        match (failure.code, failure.detail) {
            (
                _,
                Some(FailureDetail::Limit {
                    limit,
                    has,
                    held_order,
                }),
            ) => Self::CustomerLimit {
                product_id,
                requested,
                limit,
                has,
                held_order,
            },
            (
                _,
                Some(FailureDetail::Window {
                    on_sale_from,
                    on_sale_until,
                }),
            ) => Self::NotOnSale {
                product_id,
                on_sale_from,
                on_sale_until,
            },
            (FailureCode::InsufficientStock, None) => Self::InsufficientStock {
                product_id: failure.product_id,
                requested: failure.requested,
                available: failure.available,
            },
            // Whoever buys at once learns of it as of any product that is not there.
            (
                FailureCode::ProductUnavailable
                | FailureCode::NotOnSale
                | FailureCode::CustomerLimit,
                None,
            ) => Self::ProductNotFound(failure.product_id),
        }
    }
}
