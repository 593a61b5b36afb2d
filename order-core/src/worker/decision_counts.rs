//! Counts of decisions.

use crate::decision::{Decided, Granted};

/// The orders that were decided, counted by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DecisionCounts {
    /// Orders that got their stock for good.
    pub sold: u64,
    /// Orders that got it until they are confirmed.
    pub held: u64,
    /// Orders that failed.
    pub failed: u64,
}

impl DecisionCounts {
    pub(super) fn of(decisions: &[Decided]) -> Self {
        let mut counts = Self::default();
        for (_, decision) in decisions {
            match decision {
                Ok(Granted::Sold) => counts.sold += 1,
                Ok(Granted::Held { .. }) => counts.held += 1,
                Err(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.sold + self.held + self.failed
    }
}

impl std::ops::AddAssign for DecisionCounts {
    fn add_assign(&mut self, more: Self) {
        self.sold += more.sold;
        self.held += more.held;
        self.failed += more.failed;
    }
}

impl std::iter::Sum for DecisionCounts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, more| {
            sum += more;
            sum
        })
    }
}
