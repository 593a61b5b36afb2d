//! Orders as they are stored.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{
    ClientId, Failure, HoldTime, Money, OrderId, OrderLine, OrderMode, OrderStatus, RequestedLine,
    RuleViolation, TraceParent, order_line::total,
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
    /// Whoever buys, by the client's own id of them.
    pub customer: Option<String>,
    /// The client whose key placed it; none where no key was asked for.
    pub client: Option<ClientId>,
    /// The trace of the request that placed it.
    #[serde(skip)]
    pub trace_parent: Option<TraceParent>,
    /// The time for which it asks to be held; none when it is sold at once.
    #[serde(skip)]
    pub hold_time: Option<HoldTime>,
    /// The reason, when it failed.
    pub failure: Option<Failure>,
    /// The time at which it was accepted.
    pub created_at: DateTime<Utc>,
    /// The time at which it was decided.
    pub decided_at: Option<DateTime<Utc>>,
    /// The time at which its hold began, by the clock of the store; none when it was never held.
    #[serde(skip)]
    pub held_at: Option<DateTime<Utc>>,
    /// The time at which its hold ends or ended, by the clock of the store.
    pub held_until: Option<DateTime<Utc>>,
    /// The time at which it was confirmed, when it was held.
    pub confirmed_at: Option<DateTime<Utc>>,
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

    /// The order, granted what it asked for at `at`: sold, or held from `now`, by the clock of the
    /// store, until the time that it asks for.
    #[must_use]
    pub fn granted(self, at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let Some(hold_time) = self.hold_time else {
            return self.sold(at);
        };
        Self {
            status: OrderStatus::Held,
            decided_at: Some(at),
            held_at: Some(now),
            held_until: Some(hold_time.after(now)),
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
            held_at: None,
            held_until: None,
            confirmed_at: None,
            completed_at: None,
            cancelled_at: None,
            ..self.with_cancelled(|_| 0)
        }
    }

    /// The order as it was when it was placed.
    pub(crate) fn when_placed(self, mode: OrderMode) -> Self {
        let (created_at, held_at) = (self.created_at, self.held_at);
        let pending = self.as_placed();
        match mode {
            OrderMode::Accept => pending,
            OrderMode::Purchase => pending.granted(created_at, held_at.unwrap_or(created_at)),
        }
    }

    /// The time at which it was sold: decided, or confirmed after a hold.
    #[must_use]
    pub fn sold_at(&self) -> Option<DateTime<Utc>> {
        self.confirmed_at.or(self.decided_at)
    }

    /// The order, confirmed at `at`, when it is `now` by the clock of the store. One that was
    /// confirmed before stays as it is.
    ///
    /// # Errors
    /// [`RuleViolation::HoldExpired`] when its time is over, whether somebody has expired it or not;
    /// [`RuleViolation::OrderState`] when it is not held.
    pub fn confirmed(self, at: DateTime<Utc>, now: DateTime<Utc>) -> Result<Self, RuleViolation> {
        if self.status.is_sold() && self.confirmed_at.is_some() {
            return Ok(self);
        }
        self.check_held(now)?;
        Ok(Self {
            status: OrderStatus::Success,
            confirmed_at: Some(at),
            ..self
        })
    }

    /// The order, held for `hold_time` from `now` on, by the clock of the store. That never ends a
    /// hold sooner.
    ///
    /// # Errors
    /// As [`confirmed`](Self::confirmed), and [`RuleViolation::HoldLimit`] when it would be held for
    /// more than a day in all.
    pub fn extended(self, hold_time: HoldTime, now: DateTime<Utc>) -> Result<Self, RuleViolation> {
        let held_until = self.check_held(now)?;
        let until = hold_time.after(now);
        if self.held_at.is_some_and(|at| until > HoldTime::latest(at)) {
            return Err(RuleViolation::HoldLimit);
        }
        Ok(Self {
            held_until: Some(held_until.max(until)),
            ..self
        })
    }

    /// The time up to which it is held, when it still is.
    fn check_held(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, RuleViolation> {
        match (self.status, self.held_until) {
            (OrderStatus::Held, Some(until)) if now < until => Ok(until),
            (OrderStatus::Held | OrderStatus::Expired, Some(held_until)) => {
                Err(RuleViolation::HoldExpired { held_until })
            }
            (status, _) => Err(RuleViolation::OrderState { status }),
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
