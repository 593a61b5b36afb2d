//! Orders, their lines and their states.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    Fingerprint, IdempotencyKey, Money, OrderId, Placing, ProductId, Quantity, TraceParent, text,
};
use crate::error::Error;

/// Where an order stands.
///
/// ```text
/// pending ──► success ──► completed
///    │  │        │
///    │  └► failed└──► cancelled
///    └─────────────►  cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted, not decided yet.
    Pending,
    /// Every line has its stock.
    Success,
    /// Refused for good; holds no stock.
    Failed,
    /// Taken back; what stock it held went back.
    Cancelled,
    /// Sold, and what follows a sale is done.
    Completed,
}

impl OrderStatus {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Success,
        Self::Failed,
        Self::Cancelled,
        Self::Completed,
    ];

    /// Whether an order in this state may go to `next`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        use OrderStatus::{Cancelled, Completed, Failed, Pending, Success};
        matches!(
            (self, next),
            (Pending, Success | Failed | Cancelled) | (Success, Completed | Cancelled)
        )
    }

    /// Whether no other state follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled | Self::Completed)
    }

    /// Whether an order in this state holds stock.
    #[must_use]
    pub const fn holds_stock(self) -> bool {
        matches!(self, Self::Success | Self::Completed)
    }

    /// Its name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OrderStatus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                Error::invalid(
                    "status",
                    "must be pending, success, failed, cancelled or completed",
                )
            })
    }
}

/// Why an order failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// A product had less left than the order asks for.
    InsufficientStock,
    /// A product was archived before the order's turn.
    ProductUnavailable,
}

impl FailureCode {
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
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::InsufficientStock, Self::ProductUnavailable]
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| Error::invalid("failure_code", "is unknown"))
    }
}

/// The first line, in the order of lines, whose product could not give what the order asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Why.
    pub code: FailureCode,
    /// The product.
    pub product_id: ProductId,
    /// Pieces that the whole order asks of this product.
    pub requested: i64,
    /// Pieces that were left at the order's turn.
    pub available: i64,
}

/// One line of a request: so many of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedLine {
    /// The product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
}

/// What a buyer wants: checked, without an id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    lines: Vec<RequestedLine>,
    reference: Option<String>,
    key: Option<IdempotencyKey>,
    trace_parent: Option<TraceParent>,
}

impl OrderRequest {
    /// The most lines that an order may have.
    pub const MAX_LINES: usize = 100;

    /// An order of several lines. The same product may be named more than once.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `lines` (not 1..=100 of them) or `reference` (over 255 characters).
    pub fn new(lines: Vec<RequestedLine>, reference: Option<String>) -> Result<Self, Error> {
        if lines.is_empty() || lines.len() > Self::MAX_LINES {
            return Err(Error::invalid("lines", "must have 1 to 100 entries"));
        }
        let reference = reference
            .map(|r| text::bounded("reference", r, 0, 255))
            .transpose()?;
        Ok(Self {
            lines,
            reference,
            key: None,
            trace_parent: None,
        })
    }

    /// An order of one line.
    #[must_use]
    pub fn one(product_id: ProductId, quantity: Quantity) -> Self {
        Self {
            lines: vec![RequestedLine {
                product_id,
                quantity,
            }],
            reference: None,
            key: None,
            trace_parent: None,
        }
    }

    /// The same request, to be carried out once however often it comes with this key.
    #[must_use]
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The same request, in a trace, unless it is in one already.
    #[must_use]
    pub fn in_trace(mut self, parent: Option<TraceParent>) -> Self {
        self.trace_parent = self.trace_parent.or(parent);
        self
    }

    /// What it asks for.
    pub(crate) fn lines(&self) -> &[RequestedLine] {
        &self.lines
    }

    /// The order to store.
    #[must_use]
    pub fn stamp(self, id: OrderId, created_at: DateTime<Utc>) -> NewOrder {
        NewOrder {
            id,
            lines: self.lines,
            reference: self.reference,
            key: self.key,
            trace_parent: self.trace_parent,
            created_at,
        }
    }
}

/// An order about to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    pub(crate) id: OrderId,
    pub(crate) lines: Vec<RequestedLine>,
    pub(crate) reference: Option<String>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) trace_parent: Option<TraceParent>,
    pub(crate) created_at: DateTime<Utc>,
}

impl NewOrder {
    /// The order's id.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.id
    }

    /// The request that it was made of.
    pub(crate) fn into_request(self) -> OrderRequest {
        OrderRequest {
            lines: self.lines,
            reference: self.reference,
            key: self.key,
            trace_parent: self.trace_parent,
        }
    }

    /// Whether `stored`, what came of it, was placed by an earlier request with the same key: it
    /// comes back with another id than it was given.
    pub(crate) fn is_replayed_by(&self, stored: &Order) -> bool {
        stored.id != self.id
    }

    /// Tells this order from others that a client may place with the same key.
    pub(crate) fn fingerprint(&self, placing: Placing) -> Fingerprint {
        Fingerprint::of_order(placing, &self.lines, self.reference.as_deref())
    }

    /// The pending order, each line at the price that `price_of` gives.
    ///
    /// # Errors
    /// [`Error::ProductNotFound`] for the first line whose product has no price.
    pub fn priced(&self, price_of: impl Fn(ProductId) -> Option<Money>) -> Result<Order, Error> {
        let lines = self
            .lines
            .iter()
            .map(|line| {
                let price = price_of(line.product_id);
                Ok(OrderLine {
                    product_id: line.product_id,
                    quantity: line.quantity,
                    unit_price: price.ok_or(Error::ProductNotFound(line.product_id))?,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Order {
            id: self.id,
            status: OrderStatus::Pending,
            total_price: total(&lines),
            lines,
            reference: self.reference.clone(),
            trace_parent: self.trace_parent,
            failure: None,
            created_at: self.created_at,
            decided_at: None,
            completed_at: None,
            cancelled_at: None,
        })
    }
}

/// One line of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// The price of one piece when the order was accepted.
    pub unit_price: Money,
}

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Where it stands.
    pub status: OrderStatus,
    /// What it asks for, as the client listed it.
    pub lines: Vec<OrderLine>,
    /// The sum over the lines.
    pub total_price: Money,
    /// The client's own note.
    pub reference: Option<String>,
    /// The trace of the request that placed it.
    #[serde(skip)]
    pub trace_parent: Option<TraceParent>,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// When what follows the sale was done.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it was cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
}

impl Order {
    /// The order, sold at `at`.
    pub(crate) fn sold(self, at: DateTime<Utc>) -> Self {
        Self {
            status: OrderStatus::Success,
            decided_at: Some(at),
            ..self
        }
    }

    /// The order as it was when it was placed.
    pub(crate) fn when_placed(self, placing: Placing) -> Self {
        let created_at = self.created_at;
        let pending = Self {
            status: OrderStatus::Pending,
            failure: None,
            decided_at: None,
            completed_at: None,
            cancelled_at: None,
            ..self
        };
        match placing {
            Placing::Accept => pending,
            Placing::Purchase => pending.sold(created_at),
        }
    }

    /// Whether it holds stock that goes back when it is cancelled.
    pub(crate) fn gives_back_when_cancelled(&self) -> bool {
        self.status.holds_stock() && self.status.can_become(OrderStatus::Cancelled)
    }

    /// What it asks for, without the prices.
    pub(crate) fn requested_lines(&self) -> Vec<RequestedLine> {
        self.lines
            .iter()
            .map(|line| RequestedLine {
                product_id: line.product_id,
                quantity: line.quantity,
            })
            .collect()
    }

    /// The order, cancelled at `at`.
    ///
    /// # Errors
    /// [`Error::OrderState`] when its state does not allow it.
    pub(crate) fn cancelled(self, at: DateTime<Utc>) -> Result<Self, Error> {
        if !self.status.can_become(OrderStatus::Cancelled) {
            return Err(Error::OrderState {
                status: self.status,
            });
        }
        Ok(Self {
            status: OrderStatus::Cancelled,
            cancelled_at: Some(at),
            ..self
        })
    }
}

/// The sum over the lines. It fits: 100 lines of 1 000 000 pieces below 10^10 minor units
/// stay below 10^18.
fn total(lines: &[OrderLine]) -> Money {
    let minor_units = lines
        .iter()
        .map(|line| line.quantity.get() * line.unit_price.minor_units())
        .sum();
    Money::from_minor_units(minor_units).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_that_may_follow_are_those_of_the_diagram() {
        let allowed: Vec<String> = OrderStatus::ALL
            .into_iter()
            .flat_map(|from| OrderStatus::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.can_become(*to))
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        assert_eq!(
            allowed,
            [
                "pending>success",
                "pending>failed",
                "pending>cancelled",
                "success>cancelled",
                "success>completed",
            ]
        );
        for status in OrderStatus::ALL {
            let ends = !OrderStatus::ALL.into_iter().any(|to| status.can_become(to));
            assert_eq!(status.is_final(), ends, "{status}");
            assert_eq!(status.as_str().parse().ok(), Some(status));
        }
    }
}
