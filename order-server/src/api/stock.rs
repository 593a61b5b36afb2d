//! The history of a product's stock as it looks on the wire.

use order_core::{
    OrderService,
    domain::{PageRequest, ProductId, Sort, StockEntry, StockEntryId, StockEntryKind},
};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use super::{cursor::encode, wire::Time};
use crate::http::problem::Problem;

/// What changed the stock of a product.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "StockEntryKind")]
enum Kind {
    Adjustment,
    Hold,
    Sale,
    Return,
    Archive,
}

/// A change of the stock of a product.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "StockEntry")]
struct EntryBody {
    /// Id of the adjustment, of the order that took the pieces, of the return, or of the last order that
    /// was archived; of a sum, that of its newest change.
    id: Uuid,
    /// `adjustment` (initial stock, deliveries, corrections), `hold` (not confirmed), `sale`, `return`, or
    /// `archive` (what all archived orders took and did not give back).
    kind: Kind,
    /// Pieces that were added, or taken when negative.
    delta: i64,
    /// Number of changes that are summed here: 1 unless the history is asked for by minutes.
    changes: u64,
    /// Why the stock was adjusted.
    reason: Option<String>,
    /// Order that took or gave back the pieces.
    order_id: Option<Uuid>,
    /// Name of the client that adjusted it, if one was known.
    client: Option<String>,
    /// Id of the API key by which it was adjusted.
    key: Option<Uuid>,
    /// Time of the change; of a sum, the time at which its minute began.
    at: Time,
}

/// In what a history is told.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "snake_case", rename = "StockHistoryBy")]
pub(super) enum By {
    /// Each change by itself.
    Change,
    /// The sum of each kind in each minute.
    Minute,
}

impl From<StockEntry> for EntryBody {
    fn from(entry: StockEntry) -> Self {
        Self {
            id: entry.id.0,
            kind: match entry.kind {
                StockEntryKind::Adjustment => Kind::Adjustment,
                StockEntryKind::Hold => Kind::Hold,
                StockEntryKind::Sale => Kind::Sale,
                StockEntryKind::Return => Kind::Return,
                StockEntryKind::Archive => Kind::Archive,
            },
            delta: entry.delta,
            changes: entry.changes,
            reason: entry.reason,
            order_id: entry.order_id.map(|id| id.0),
            client: entry.client,
            key: entry.key.map(|key| key.0),
            at: entry.at,
        }
    }
}

/// A page of the history of a product's stock, newest first.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "StockHistory")]
pub(super) struct HistoryPage {
    items: Vec<EntryBody>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// The order of the history.
pub(super) const SORT: Sort = Sort::NewestFirst;

/// Reads a page of the history.
pub(super) async fn page(
    service: &OrderService,
    id: Uuid,
    page: &PageRequest<StockEntryId>,
    by: Option<By>,
) -> Result<HistoryPage, Problem> {
    let id_of = ProductId(id);
    let history = match by {
        None | Some(By::Change) => service.stock_history(id_of, page).await?,
        Some(By::Minute) => service.stock_history_by_minute(id_of, page).await?,
    };
    let history = history.ok_or_else(|| Problem::product_not_found(id))?;
    Ok(HistoryPage {
        items: history.items.into_iter().map(Into::into).collect(),
        next_cursor: history.next.map(|id| encode(id.0, SORT)),
    })
}
