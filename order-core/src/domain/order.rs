//! Orders as they are stored.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    ClientId, Failure, Money, OrderId, OrderLine, OrderMode, OrderStatus, RequestedLine,
    RuleViolation, TraceParent,
};

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Its state.
    pub status: OrderStatus,
    /// Its lines, as the client listed them.
    pub lines: Vec<OrderLine>,
    /// The sum over the lines.
    pub total_price: Money,
    /// The client's own note.
    pub reference: Option<String>,
    /// The client whose key placed it; none where no key was asked for.
    pub client: Option<ClientId>,
    /// The trace of the request that placed it.
    #[serde(skip)]
    pub trace_parent: Option<TraceParent>,
    /// The reason, when it failed.
    pub failure: Option<Failure>,
    /// The time at which it was accepted.
    pub created_at: DateTime<Utc>,
    /// The time at which it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// The time at which its post-sale task was done.
    pub completed_at: Option<DateTime<Utc>>,
    /// The time at which it was cancelled.
    pub cancelled_at: Option<DateTime<Utc>>,
}

impl Order {
    /// The order, sold at `at`.
    #[must_use]
    pub fn sold(self, at: DateTime<Utc>) -> Self {
        Self {
            status: OrderStatus::Success,
            decided_at: Some(at),
            ..self
        }
    }

    /// The order as it was when it was placed.
    pub(crate) fn when_placed(self, mode: OrderMode) -> Self {
        let created_at = self.created_at;
        let pending = Self {
            status: OrderStatus::Pending,
            failure: None,
            decided_at: None,
            completed_at: None,
            cancelled_at: None,
            ..self
        };
        match mode {
            OrderMode::Accept => pending,
            OrderMode::Purchase => pending.sold(created_at),
        }
    }

    /// True when it holds stock that goes back as it is cancelled.
    pub(crate) fn gives_back_when_cancelled(&self) -> bool {
        self.status.holds_stock() && self.status.can_become(OrderStatus::Cancelled)
    }

    /// Its lines, without the prices.
    #[must_use]
    pub fn requested_lines(&self) -> Vec<RequestedLine> {
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
    /// [`RuleViolation::OrderState`] when its state does not allow it.
    pub fn cancelled(self, at: DateTime<Utc>) -> Result<Self, RuleViolation> {
        if !self.status.can_become(OrderStatus::Cancelled) {
            return Err(RuleViolation::OrderState {
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
