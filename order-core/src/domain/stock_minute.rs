//! The minutes of the history of a product's stock.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{StockEntry, StockEntryId, StockEntryKind};

impl StockEntry {
    /// The sum of so many changes of one kind, of which the newest has this id, within the minute that
    /// began `at`.
    pub(crate) const fn sum(
        id: StockEntryId,
        kind: StockEntryKind,
        delta: i64,
        changes: u64,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            kind,
            delta,
            changes,
            reason: None,
            order_id: None,
            client: None,
            key: None,
            at,
        }
    }
}

/// A minute of a history, by the times in the ids of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StockMinute {
    /// The time at which it begins.
    pub(crate) at: DateTime<Utc>,
    /// No entry of it has a lower id.
    pub(crate) first: StockEntryId,
    /// No entry of it has this id or a higher one.
    pub(crate) end: StockEntryId,
}

impl StockMinute {
    const MILLIS: u64 = 60_000;

    /// The minute of an entry.
    pub(crate) fn of(id: StockEntryId) -> Self {
        let (millis, _) = id.0.as_u64_pair();
        let minute = (millis >> 16) / Self::MILLIS;
        let bound = |minute: u64| {
            // The time stands in the first 48 bits of an id.
            let millis = (minute * Self::MILLIS).min((1 << 48) - 1);
            StockEntryId(Uuid::from_u64_pair(millis << 16, 0))
        };
        let millis = i64::try_from(minute * Self::MILLIS).unwrap_or(i64::MAX);
        Self {
            at: DateTime::from_timestamp_millis(millis).unwrap_or_default(),
            first: bound(minute),
            end: bound(minute + 1),
        }
    }
}
