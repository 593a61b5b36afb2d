//! The values of labels that are known from the start.

use crate::{
    domain::{FailureCode, OrderMode},
    error::Error,
};

/// The work of one transaction over many orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Accept,
    Purchase,
    Decide,
    Confirm,
}

impl From<OrderMode> for Operation {
    fn from(mode: OrderMode) -> Self {
        match mode {
            OrderMode::Accept => Self::Accept,
            OrderMode::Purchase => Self::Purchase,
        }
    }
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [Self::Accept, Self::Purchase, Self::Decide, Self::Confirm];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Purchase => "purchase",
            Self::Decide => "decide",
            Self::Confirm => "confirm",
        }
    }
}

/// The ways on which orders come to their decision.
pub(super) const WAYS: [&str; 2] = [BACKGROUND, PURCHASE];
pub(super) const BACKGROUND: &str = "background";
pub(super) const PURCHASE: &str = "purchase";

/// The outcomes of a decision.
pub(super) const OUTCOMES: [&str; 6] = [
    SUCCESS,
    HELD,
    FailureCode::InsufficientStock.as_str(),
    FailureCode::ProductUnavailable.as_str(),
    FailureCode::NotOnSale.as_str(),
    FailureCode::CustomerLimit.as_str(),
];
pub(super) const SUCCESS: &str = "success";
pub(super) const HELD: &str = "held";

/// The ways in which a hold ends, but for a cancellation.
pub(super) const HOLD_ENDS: [&str; 2] = [CONFIRMED, EXPIRED];
pub(super) const CONFIRMED: &str = "confirmed";
pub(super) const EXPIRED: &str = "expired";

/// The causes for which a transaction fails.
pub(super) const ERRORS: [&str; 3] = ["unavailable", "outcome_unknown", "backend"];

/// The label for the cause of a failed transaction.
pub(super) fn cause(error: &Error) -> &'static str {
    match error {
        Error::OutcomeUnknown { .. } => "outcome_unknown",
        error if error.is_transient() => "unavailable",
        _ => "backend",
    }
}

/// The outcomes of an attempt at a task.
pub(super) const TASK_OUTCOMES: [&str; 4] = ["completed", "retried", "dead", "compensated"];
