//! The history of a product's stock.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{KeyId, OrderId, StockEntryId};

/// What changed the stock of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StockEntryKind {
    /// Its initial stock, a delivery, a correction.
    Adjustment,
    /// An order took it that is held, or that ended without being sold.
    Hold,
    /// An order took it that is sold, or was.
    Sale,
    /// An order gave it back.
    Return,
    /// What all archived orders took and did not give back.
    Archive,
}

/// One change of the stock of a product, or all of one kind within a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StockEntry {
    /// Its id: that of the adjustment, the order that took it, the return, or the last order that was
    /// archived. Entries are listed in
    /// the order of their ids, so that a sale stands where its order was placed.
    pub id: StockEntryId,
    /// What it was.
    pub kind: StockEntryKind,
    /// The pieces that it added, or took when it is negative.
    pub delta: i64,
    /// The number of changes that are summed here; 1 for a change by itself.
    pub changes: u64,
    /// Why the stock was adjusted.
    pub reason: Option<String>,
    /// The order that took it or gave it back.
    pub order_id: Option<OrderId>,
    /// The name of the client that adjusted it, where one was known.
    pub client: Option<String>,
    /// The API key by which it was adjusted.
    pub key: Option<KeyId>,
    /// The time of the change; of a sum, the time at which the minute began.
    pub at: DateTime<Utc>,
}
