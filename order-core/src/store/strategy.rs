//! The strategies that keep concurrent orders for the same product apart.

use crate::error::Error;

/// A way to keep concurrent orders for the same product apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Lock the products of many orders once, decide in memory, write once per table.
    #[default]
    Batch,
    /// One order per transaction, under `SELECT … FOR NO KEY UPDATE` of its products.
    RowLock,
    /// One order per transaction, by `UPDATE … SET stock = stock − n WHERE stock >= n`.
    ConditionalUpdate,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 3] = [Self::Batch, Self::RowLock, Self::ConditionalUpdate];

    /// Its name in settings and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::RowLock => "row_lock",
            Self::ConditionalUpdate => "conditional_update",
        }
    }
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Strategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|strategy| strategy.as_str() == text)
            .ok_or_else(|| {
                Error::invalid("strategy", "must be batch, row_lock or conditional_update")
            })
    }
}
