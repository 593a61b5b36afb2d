//! Keys of requests, as they are stored.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{Fingerprint, IdempotencyKey, OrderId, OrderReturn, StockAdjustment};

/// A key that was used: its scope, itself, and the request that used it.
pub(crate) type UsedKey = (Uuid, String, Vec<u8>, Uuid);

/// A key to store, with the request that used it.
#[derive(Debug)]
pub(crate) struct IdempotencyRecord {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: Fingerprint,
    pub(super) target_id: Uuid,
    pub(super) created_at: DateTime<Utc>,
}

impl IdempotencyRecord {
    /// The key of a request that cancelled an order.
    pub(super) fn of_cancel(key: &IdempotencyKey, id: OrderId, created_at: DateTime<Utc>) -> Self {
        Self {
            key: key.clone(),
            fingerprint: Fingerprint::of_cancel(id),
            target_id: id.0,
            created_at,
        }
    }

    /// The key of a return, if it has one.
    pub(super) fn of_return(returned: &OrderReturn) -> Option<Self> {
        Some(Self {
            key: returned.key.clone()?,
            fingerprint: Fingerprint::of_return(returned.order_id, &returned.lines),
            target_id: returned.order_id.0,
            created_at: returned.at,
        })
    }

    /// The key of an adjustment, if it has one.
    pub(super) fn of_adjustment(adjustment: &StockAdjustment) -> Option<Self> {
        Some(Self {
            key: adjustment.key.clone()?,
            fingerprint: Fingerprint::of_adjustment(adjustment),
            target_id: adjustment.id.0,
            created_at: adjustment.created_at,
        })
    }
}
