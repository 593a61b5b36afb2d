//! The history of a product's stock.

use order_core::{
    OrderService,
    domain::{ProductId, StockEntry, StockEntryKind},
};
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Path, Query},
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    cursor::{encode, page_request},
    tag::Tag,
    wire::Time,
};
use crate::{
    auth::ReadProducts,
    http::{json::Json, problem::Problem},
};

/// What changed the stock of a product.
#[derive(Clone, Copy, Debug, Enum, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case", rename = "StockEntryKind")]
enum Kind {
    Adjustment,
    Hold,
    Sale,
    Return,
}

/// A change of the stock of a product.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "StockEntry")]
struct EntryBody {
    /// Id of the adjustment, of the order that took the pieces, or of the return.
    id: Uuid,
    /// `adjustment` (initial stock, deliveries, corrections), `hold` (not confirmed), `sale` or `return`.
    kind: Kind,
    /// Pieces that were added, or taken when negative.
    delta: i64,
    /// Why the stock was adjusted.
    reason: Option<String>,
    /// Order that took or gave back the pieces.
    order_id: Option<Uuid>,
    /// Name of the client that adjusted it, if one was known.
    client: Option<String>,
    /// Id of the API key by which it was adjusted.
    key: Option<Uuid>,
    at: Time,
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
            },
            delta: entry.delta,
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
struct HistoryPage {
    items: Vec<EntryBody>,
    /// Cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// The operations on the history of stock.
pub struct Stock {
    service: OrderService,
}

impl Stock {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }
}

#[OpenApi(tag = "Tag::Products")]
impl Stock {
    /// Read what changed a product's stock, newest first: adjustments, holds, sales and returns, one by
    /// one. A hold or a sale stands where its order was placed. All of them add up to the stock
    #[oai(
        path = "/products/:id/stock",
        method = "get",
        operation_id = "listStockEntries"
    )]
    async fn list(
        &self,
        _caller: ReadProducts,
        id: Path<Uuid>,
        /// Items per page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        page_size: Query<Option<u32>>,
        /// The same as `page_size`
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the previous page
        cursor: Query<Option<String>>,
    ) -> Result<Json<HistoryPage>, Problem> {
        let page = page_request(page_size.0, limit.0, cursor.0.as_deref(), None)?;
        let history = self.service.stock_history(ProductId(id.0), &page).await?;
        let history = history.ok_or_else(|| Problem::product_not_found(id.0))?;
        Ok(Json(HistoryPage {
            items: history.items.into_iter().map(Into::into).collect(),
            next_cursor: history.next.map(|id| encode(id.0)),
        }))
    }
}
