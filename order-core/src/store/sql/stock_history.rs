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
        StockMinute,
    },
    error::Error,
};

/// The statement that reads a page of the history of the product `$1`, before the entry `$2` and from
/// the entry `$4` on, up to `$3`. Each kind is read along its index, and no further than the page. Orders
/// that an older version cancelled, which kept no return, are left out: they neither took nor gave.
macro_rules! stock_history {
    ($sales:ident) => {
        concat!(
            "SELECT * FROM (
                 SELECT id, 'adjustment' AS kind, delta, reason, CAST(NULL AS uuid) AS order_id, client,
                        key_id, created_at AS at
                 FROM stock_adjustments
                 WHERE product_id = $1 AND id < $2 AND id >= $4 AND delta <> 0
                 ORDER BY id DESC LIMIT $3) adjusted
             UNION ALL SELECT * FROM (",
            $sales!(),
            " ORDER BY order_id DESC LIMIT $3) sold
             UNION ALL SELECT * FROM (
                 SELECT id, 'return', quantity, CAST(NULL AS text), order_id, CAST(NULL AS text),
                        CAST(NULL AS uuid), created_at
                 FROM stock_returns WHERE product_id = $1 AND id < $2 AND id >= $4
                 ORDER BY id DESC LIMIT $3) returned
             UNION ALL SELECT last_order_id, 'archive', -kept, CAST(NULL AS text),
                    CAST(NULL AS uuid), CAST(NULL AS text), CAST(NULL AS uuid), last_at
             FROM archived_sales
             WHERE product_id = $1 AND last_order_id < $2 AND last_order_id >= $4 AND kept > 0
             ORDER BY id DESC LIMIT $3"
        )
    };
}
pub(super) use stock_history;

/// The statement that sums such a page by kinds. `$newest` is the highest id.
macro_rules! stock_by_minute {
    ($newest:literal, $sum:literal, $sales:ident) => {
        concat!(
            "SELECT ",
            $newest,
            " AS id, kind, ",
            $sum,
            " AS delta, count(*) AS changes FROM (",
            crate::store::sql::stock_history::stock_history!($sales),
            ") entry GROUP BY kind ORDER BY 1 DESC"
        )
    };
}
pub(super) use stock_by_minute;

/// The changes that a page of sums adds up at most, but for its last minute.
const MOST_SUMMED: u64 = 100_000;

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

fn kind(name: &str) -> StockEntryKind {
    match name {
        "adjustment" => StockEntryKind::Adjustment,
        "hold" => StockEntryKind::Hold,
        "sale" => StockEntryKind::Sale,
        "archive" => StockEntryKind::Archive,
        _ => StockEntryKind::Return,
    }
}

impl From<EntryRow> for StockEntry {
    fn from(row: EntryRow) -> Self {
        Self {
            id: StockEntryId(row.id),
            kind: kind(&row.kind),
            delta: row.delta,
            changes: 1,
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
    let mut connection = backend.read().await?;
    let rows = before(&mut *connection, product, start(page), page.limit()).await?;
    let entries = rows.into_iter().map(StockEntry::from).collect();
    Ok(Page::from_rows(
        entries,
        page.size,
        |entry: &StockEntry| entry.id,
        None,
    ))
}

/// The entry before which a page begins.
fn start(page: &PageRequest<StockEntryId>) -> StockEntryId {
    let (after, _) = page.bounds();
    after.unwrap_or(StockEntryId(Uuid::max()))
}

async fn before<C: SqlConnection>(
    connection: &mut C,
    product: ProductId,
    end: StockEntryId,
    limit: i64,
) -> Result<Vec<EntryRow>, Error> {
    let values = [
        Value::Id(product.0),
        Value::Id(end.0),
        Value::Int(limit),
        Value::Id(Uuid::nil()),
    ];
    let statement = C::SQL.products.stock_history;
    connection.fetch_all(statement, &values).await
}

/// Minute by minute, each found by its newest entry: minutes without any cost nothing.
pub(super) async fn by_minute<B: SqlBackend>(
    backend: &B,
    product: ProductId,
    page: &PageRequest<StockEntryId>,
) -> Result<Page<StockEntry, StockEntryId>, Error> {
    let size = usize::try_from(page.size.get()).unwrap_or(usize::MAX);
    let (start, mut end) = (start(page), start(page));
    let (mut sums, mut summed) = (Vec::new(), 0);
    let mut connection = backend.read().await?;
    let mut is_more = false;
    while let Some(newest) = before(&mut *connection, product, end, 1).await?.pop() {
        is_more = sums.len() >= size || summed >= MOST_SUMMED;
        if is_more {
            break;
        }
        let minute = StockMinute::of(StockEntryId(newest.id));
        for sum in sums_of(&mut *connection, product, minute).await? {
            summed += sum.changes;
            // The others of its minute were on the page before.
            if sum.id < start {
                sums.push(sum);
            }
        }
        end = minute.first;
    }
    let next = if sums.len() > size {
        sums.truncate(size);
        sums.last().map(|sum| sum.id)
    } else {
        is_more.then_some(end)
    };
    Ok(Page {
        items: sums,
        next,
        total: None,
    })
}

async fn sums_of<C: SqlConnection>(
    connection: &mut C,
    product: ProductId,
    minute: StockMinute,
) -> Result<Vec<StockEntry>, Error> {
    let values = [
        Value::Id(product.0),
        Value::Id(minute.end.0),
        Value::Int(i64::MAX),
        Value::Id(minute.first.0),
    ];
    let statement = C::SQL.products.stock_by_minute;
    let rows: Vec<(Uuid, String, i64, i64)> = connection.fetch_all(statement, &values).await?;
    let sum = |(id, name, delta, changes): (Uuid, String, i64, i64)| {
        let changes = changes.unsigned_abs();
        StockEntry::sum(StockEntryId(id), kind(&name), delta, changes, minute.at)
    };
    Ok(rows.into_iter().map(sum).collect())
}
