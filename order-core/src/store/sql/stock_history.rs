//! The history of a product's stock: its adjustments, what orders took, and what came back. Archived
//! orders are one entry, where the last of them stood.

use sqlx::FromRow;
use uuid::Uuid;

use super::{
    backend::{SqlBackend, SqlConnection},
    value::{StoredTime, Value},
};
use crate::{
    domain::{
        KeyId, OrderId, Page, PageRequest, ProductId, StockEntry, StockEntryId, StockEntryKind,
    },
    error::Error,
};

/// The statement that reads a page of the history of the product `$1`, before the entry `$2`, up to
/// `$3`. Each kind is read along its index, and no further than the page. Orders that an older version
/// cancelled, which kept no return, are left out: they neither took nor gave.
macro_rules! stock_history {
    ($sales:literal) => {
        concat!(
            "SELECT * FROM (
                 SELECT id, 'adjustment' AS kind, delta, reason, CAST(NULL AS uuid) AS order_id, client,
                        key_id, created_at AS at
                 FROM stock_adjustments WHERE product_id = $1 AND id < $2 AND delta <> 0
                 ORDER BY id DESC LIMIT $3) adjusted
             UNION ALL SELECT * FROM (",
            $sales,
            " ORDER BY order_id DESC LIMIT $3) sold
             UNION ALL SELECT * FROM (
                 SELECT id, 'return', quantity, CAST(NULL AS text), order_id, CAST(NULL AS text),
                        CAST(NULL AS uuid), created_at
                 FROM stock_returns WHERE product_id = $1 AND id < $2
                 ORDER BY id DESC LIMIT $3) returned
             UNION ALL SELECT last_order_id, 'archive', -kept, CAST(NULL AS text),
                    CAST(NULL AS uuid), CAST(NULL AS text), CAST(NULL AS uuid), last_at
             FROM archived_sales
             WHERE product_id = $1 AND last_order_id < $2 AND kept > 0
             ORDER BY id DESC LIMIT $3"
        )
    };
}
pub(super) use stock_history;

#[derive(FromRow)]
struct EntryRow {
    id: Uuid,
    kind: String,
    delta: i64,
    reason: Option<String>,
    order_id: Option<Uuid>,
    client: Option<String>,
    key_id: Option<Uuid>,
    at: StoredTime,
}

impl From<EntryRow> for StockEntry {
    fn from(row: EntryRow) -> Self {
        Self {
            id: StockEntryId(row.id),
            kind: match row.kind.as_str() {
                "adjustment" => StockEntryKind::Adjustment,
                "hold" => StockEntryKind::Hold,
                "sale" => StockEntryKind::Sale,
                "archive" => StockEntryKind::Archive,
                _ => StockEntryKind::Return,
            },
            delta: row.delta,
            reason: row.reason,
            order_id: row.order_id.map(OrderId),
            client: row.client,
            key: row.key_id.map(KeyId),
            at: row.at.0,
        }
    }
}

pub(super) async fn list<B: SqlBackend>(
    backend: &B,
    product: ProductId,
    page: &PageRequest<StockEntryId>,
) -> Result<Page<StockEntry, StockEntryId>, Error> {
    let (after, _) = page.bounds();
    let values = [
        Value::Id(product.0),
        Value::Id(after.map_or(Uuid::max(), |after| after.0)),
        Value::Int(page.limit()),
    ];
    let mut connection = backend.read().await?;
    let rows: Vec<EntryRow> = connection
        .fetch_all(B::SQL.products.stock_history, &values)
        .await?;
    let entries = rows.into_iter().map(StockEntry::from).collect();
    Ok(Page::from_rows(
        entries,
        page.size,
        |entry: &StockEntry| entry.id,
        None,
    ))
}
