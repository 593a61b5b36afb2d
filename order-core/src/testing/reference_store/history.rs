//! The history of stock in the reference store.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::state::State;
use crate::{
    audit::author,
    domain::{OrderId, ProductId, StockAdjustment, StockEntry, StockEntryId, StockEntryKind},
};

impl State {
    pub(super) fn adjust(&mut self, adjustment: &StockAdjustment) {
        let (id, delta) = (adjustment.product_id, adjustment.delta);
        self.adjustments.push((id, delta));
        if delta == 0 {
            return;
        }
        let author = author();
        let entry = StockEntry {
            id: StockEntryId(adjustment.id.0),
            kind: StockEntryKind::Adjustment,
            delta,
            changes: 1,
            reason: Some(adjustment.reason.clone()),
            order_id: None,
            client: author.client.map(|name| name.to_string()),
            key: author.key,
            at: adjustment.created_at,
        };
        self.history.push((id, entry));
    }

    /// What an order took as a hold is sold.
    pub(super) fn enter_confirmed(&mut self, order: OrderId) {
        for (_, entry) in &mut self.history {
            if entry.order_id == Some(order) && entry.kind == StockEntryKind::Hold {
                entry.kind = StockEntryKind::Sale;
            }
        }
    }

    /// Enters what an order took or gave back.
    pub(super) fn enter(
        &mut self,
        id: Uuid,
        order: OrderId,
        kind: StockEntryKind,
        pieces: &BTreeMap<ProductId, i64>,
        at: DateTime<Utc>,
    ) {
        for (product, pieces) in pieces {
            let is_return = kind == StockEntryKind::Return;
            let entry = StockEntry {
                id: StockEntryId(id),
                kind,
                delta: if is_return { *pieces } else { -pieces },
                changes: 1,
                reason: None,
                order_id: Some(order),
                client: None,
                key: None,
                at,
            };
            self.history.push((*product, entry));
        }
    }
}
