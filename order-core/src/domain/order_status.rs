//! The states of an order, and the ways between them.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::ValidationError;

/// The state of an order.
///
/// ```text
///            ┌─► failed
///            ├─► held ──┬─► expired
///            │    │     └─► cancelled
/// pending ───┤    ▼
///            ├─► success ──┬─► completed
///            │             └─► cancelled
///            └─► cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted, not decided yet.
    Pending,
    /// Every line has its stock until a certain time, unless the order is confirmed by then.
    Held,
    /// Every line has its stock.
    Success,
    /// Refused for good; holds no stock.
    Failed,
    /// Not confirmed in time; what stock it held went back.
    Expired,
    /// Taken back; what stock it held went back.
    Cancelled,
    /// Sold, and its post-sale task is done.
    Completed,
}

impl OrderStatus {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Held,
        Self::Success,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::Completed,
    ];

    /// True when an order in this state may go to `next`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        use OrderStatus::{Cancelled, Completed, Expired, Failed, Held, Pending, Success};
        matches!(
            (self, next),
            (Pending, Held | Success | Failed | Cancelled)
                | (Held, Success | Expired | Cancelled)
                | (Success, Completed | Cancelled)
        )
    }

    /// True when no other state follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::Expired | Self::Cancelled | Self::Completed
        )
    }

    /// True when an order in this state holds stock.
    #[must_use]
    pub const fn holds_stock(self) -> bool {
        matches!(self, Self::Held | Self::Success | Self::Completed)
    }

    /// True when an order in this state is sold.
    #[must_use]
    pub const fn is_sold(self) -> bool {
        matches!(self, Self::Success | Self::Completed)
    }

    /// Its name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Expired => "expired",
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
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                ValidationError::new(
                    "status",
                    "must be pending, held, success, failed, expired, cancelled or completed",
                )
            })
    }
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
                "pending>held",
                "pending>success",
                "pending>failed",
                "pending>cancelled",
                "held>success",
                "held>expired",
                "held>cancelled",
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
