//! The cases, and the contestants that are measured in them.

use std::fmt;

use crate::store::Strategy;

/// The numbers of concurrent transactions with which one order at a time is tried; the best counts.
pub const SINGLE_TASKS: [usize; 3] = [1, 8, 32];

/// The operation that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Deciding a backlog of accepted orders.
    Decide,
    /// Accepting orders, each by a request of its own.
    Accept,
    /// Buying at once, each by a request of its own.
    Purchase,
}

/// The way to sell that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// This library, as it is by default.
    Batch,
    /// The same, with so many orders in a transaction at the most.
    Sized(usize),
    /// The statements of `batch` in a bare loop over the driver, with so many connections.
    Limit(usize),
    /// One order per transaction, so many transactions at once.
    Single(Strategy, usize),
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => f.pad("batch"),
            Self::Sized(batch) => f.pad(&format!("batch of {batch}")),
            Self::Limit(connections) => f.pad(&format!("bare driver x{connections}")),
            Self::Single(strategy, tasks) => f.pad(&format!("{strategy} x{tasks}")),
        }
    }
}
