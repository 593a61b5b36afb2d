//! Entries of a queue, under a lease and given up.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::OrderId;

/// The right to work on one order until the lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The order.
    pub order_id: OrderId,
    /// The number of times that it was claimed, this time included.
    pub attempts: u32,
    /// Names this claim; once another took over, it is worth nothing.
    pub claim_id: Uuid,
}

/// An entry that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The order.
    pub order_id: OrderId,
    /// The reason for which it was given up.
    pub reason: String,
    /// The number of times that it was claimed.
    pub attempts: u32,
    /// The time at which it was given up.
    pub dead_at: DateTime<Utc>,
}
