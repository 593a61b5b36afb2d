//! Counts of decisions.

use crate::decision::Decided;

/// The orders that were decided, counted by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DecisionCounts {
    /// Orders that got their stock.
    pub sold: u64,
    /// Orders that failed.
    pub failed: u64,
}

impl DecisionCounts {
    pub(super) fn of(decisions: &[Decided]) -> Self {
        let sold = decisions.iter().filter(|(_, d)| d.is_ok()).count() as u64;
        Self {
            sold,
            failed: decisions.len() as u64 - sold,
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.sold + self.failed
    }
}

impl std::ops::AddAssign for DecisionCounts {
    fn add_assign(&mut self, more: Self) {
        self.sold += more.sold;
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
