//! Orders as they are stored.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    ClientId, Failure, Money, OrderId, OrderLine, OrderMode, OrderStatus, RequestedLine,
    RuleViolation, TraceParent, order_request::total,
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
    /// The sum over what is not cancelled of the lines.
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

    /// The order as it was when it was accepted: pending, with all of its lines.
    #[must_use]
    pub fn as_placed(self) -> Self {
        Self {
            status: OrderStatus::Pending,
            failure: None,
            decided_at: None,
            completed_at: None,
            cancelled_at: None,
            ..self.with_cancelled(|_| 0)
        }
    }

    /// The order as it was when it was placed.
    pub(crate) fn when_placed(self, mode: OrderMode) -> Self {
        let created_at = self.created_at;
        let pending = self.as_placed();
        match mode {
            OrderMode::Accept => pending,
            OrderMode::Purchase => pending.sold(created_at),
        }
    }

    /// The order with so many pieces of each line cancelled, and the total of what is left.
    pub(super) fn with_cancelled(self, cancelled: impl Fn(&OrderLine) -> i64) -> Self {
        let mut lines = self.lines;
        for line in &mut lines {
            line.cancelled_quantity = cancelled(line);
        }
        // The total of all lines fit when it was placed, and that of a part of them is no more.
        let total_price = total(&lines).unwrap_or(self.total_price);
        Self {
            lines,
            total_price,
            ..self
        }
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

    /// The order, cancelled at `at` with all of its lines. One that is completed stays so, and gave
    /// everything back.
    ///
    /// # Errors
    /// [`RuleViolation::OrderState`] when its state does not allow it.
    pub fn cancelled(self, at: DateTime<Utc>) -> Result<Self, RuleViolation> {
        let status = self.status;
        if status != OrderStatus::Completed && !status.can_become(OrderStatus::Cancelled) {
            return Err(RuleViolation::OrderState { status });
        }
        Ok(self.with_cancelled(|line| line.quantity.get()).settled(at))
    }

    /// Cancelled at `at`, when nothing is left of it and it is not completed.
    pub(super) fn settled(self, at: DateTime<Utc>) -> Self {
        if self.status == OrderStatus::Completed || !self.is_taken_back() {
            return self;
        }
        Self {
            status: OrderStatus::Cancelled,
            cancelled_at: Some(at),
            ..self
        }
    }

    /// True when nothing is left of it.
    #[must_use]
    pub fn is_taken_back(&self) -> bool {
        self.lines.iter().all(|line| line.kept() == 0)
    }

    /// True when what was done for it is to be undone, or a part of that.
    pub(crate) fn is_to_be_compensated(&self) -> bool {
        match self.status {
            OrderStatus::Cancelled => true,
            OrderStatus::Completed => self.is_partly_cancelled(),
            _ => false,
        }
    }

    /// True when something of it was cancelled.
    #[must_use]
    pub fn is_partly_cancelled(&self) -> bool {
        self.lines.iter().any(|line| line.cancelled_quantity > 0)
    }
}
