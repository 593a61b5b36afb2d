//! Orders as they stand in files: what the API tells of them, and what else is theirs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{HoldTime, Order, OrderId, OrderVersion, ProductId, ReturnId},
    process::Attempt,
};

/// An order with all that is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedOrder {
    /// The order.
    pub order: Order,
    /// The attempts at its task that failed, the first one first.
    pub attempts: Vec<Attempt>,
    /// What it gave back that had stock, in the order of the returns.
    pub returns: Vec<ArchivedReturn>,
}

/// Pieces of a product that an order gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedReturn {
    /// The id of the return, which may be of several products.
    pub id: ReturnId,
    /// The product.
    pub product_id: ProductId,
    /// The pieces.
    pub quantity: i64,
    /// The time of the return.
    pub created_at: DateTime<Utc>,
}

/// A line of a file.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    order: &'a Order,
    hold_seconds: Option<u32>,
    held_at: Option<DateTime<Utc>>,
    trace_parent: Option<String>,
    version: String,
    attempts: &'a [Attempt],
    returns: &'a [ArchivedReturn],
}

impl ArchivedOrder {
    /// Appends the order as a line of JSON.
    pub(super) fn write(&self, file: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let order = &self.order;
        let line = Written {
            order,
            hold_seconds: order.hold_time.map(HoldTime::seconds),
            held_at: order.held_at,
            trace_parent: order.trace_parent.map(|parent| parent.to_string()),
            version: order.version().to_string(),
            attempts: &self.attempts,
            returns: &self.returns,
        };
        serde_json::to_writer(&mut *file, &line)?;
        file.push(b'\n');
        Ok(())
    }
}

/// What is read back of a line: what deleting its order takes, and what is counted.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredOrder {
    pub(crate) id: OrderId,
    pub(super) status: String,
    version: String,
    pub(super) lines: Vec<StoredLine>,
    pub(crate) returns: Vec<ArchivedReturn>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct StoredLine {
    pub(super) product_id: ProductId,
    pub(super) quantity: i64,
    pub(super) cancelled_quantity: i64,
}

impl StoredOrder {
    /// Tells whether an order is still as it stands in the file.
    pub(crate) fn is_same(&self, order: &Order) -> bool {
        let version: Result<OrderVersion, _> = self.version.parse();
        self.id == order.id && version.is_ok_and(|version| version == order.version())
    }
}
