//! Read, decide, write: how orders get their turn. The write lock of the file is held from
//! the start of each transaction: it is the lock of every product.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{SqliteConnection, types::Json};

use super::{hex, json_ids};
use crate::{
    decision::Decision,
    domain::{OrderId, Product, ProductId, RequestedLine},
    error::Error,
    store::{
        Decided, Outcome, Pick,
        plan::{self, LockedProduct, PendingOrder},
        rows::{self, LockedRow, Micros, PendingRow, product_columns},
    },
};

pub(super) async fn decide_claimed(
    connection: &mut SqliteConnection,
    pending: &[PendingOrder],
    at: DateTime<Utc>,
) -> Result<Outcome<Decided>, Error> {
    let products = read(connection, pending.iter().flat_map(|order| &order.lines)).await?;
    let mut batch_stock = plan::batch_stock(&products);
    let decisions = plan::decide(pending, &mut batch_stock);
    write_decisions(connection, &decisions, at).await?;
    let changed = take(connection, batch_stock.deductions(), at).await?;
    Ok(Outcome {
        results: decisions,
        changed,
        ..Outcome::default()
    })
}

/// Reads pending orders, oldest first, with their lines.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    pick: Pick<'_>,
) -> Result<Vec<PendingOrder>, Error> {
    // CROSS JOIN keeps the order of the loops: from the few orders to their lines.
    macro_rules! with_lines_of {
        ($claimed:literal) => {
            concat!(
                "WITH claimed AS MATERIALIZED (",
                $claimed,
                ")
                 SELECT claimed.id, line.product_id, line.quantity
                 FROM claimed CROSS JOIN order_lines line ON line.order_id = claimed.id
                 ORDER BY claimed.id, line.line_no"
            )
        };
    }
    let rows: Vec<PendingRow> = match pick {
        Pick::Oldest(limit) => {
            sqlx::query_as(with_lines_of!(
                "SELECT id FROM orders WHERE status = 'pending' ORDER BY id LIMIT ?1"
            ))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?
        }
        Pick::These(ids) => {
            sqlx::query_as(with_lines_of!(
                "SELECT id FROM orders WHERE status = 'pending'
                     AND id IN (SELECT unhex(value) FROM json_each(?1)) ORDER BY id"
            ))
            .bind(json_ids(ids.iter().map(|id| id.0)))
            .fetch_all(connection)
            .await?
        }
    };
    rows::gather(rows)
}

/// Reads the products that `lines` name, in id order.
pub(super) async fn read<'a>(
    connection: &mut SqliteConnection,
    lines: impl Iterator<Item = &'a RequestedLine>,
) -> Result<Vec<LockedProduct>, Error> {
    let rows: Vec<LockedRow> = sqlx::query_as(
        "SELECT id, price, stock, archived_at IS NOT NULL AS archived FROM products
         WHERE id IN (SELECT unhex(value) FROM json_each(?1)) ORDER BY id",
    )
    .bind(json_ids(plan::products_of(lines).iter().map(|id| id.0)))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(LockedProduct::try_from).collect()
}

/// Takes pieces off products, and gives the products after that.
pub(super) async fn take(
    connection: &mut SqliteConnection,
    taken: impl Iterator<Item = (ProductId, i64)>,
    at: DateTime<Utc>,
) -> Result<Vec<Product>, Error> {
    let taken: Vec<_> = taken
        .map(|(id, pieces)| json!([hex(id.0), pieces]))
        .collect();
    let rows: Vec<rows::ProductRow<Micros>> = sqlx::query_as(concat!(
        "UPDATE products SET stock = stock - t.pieces, version = version + 1, updated_at = ?2
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS pieces FROM json_each(?1)) AS t
         WHERE products.id = t.id RETURNING ",
        product_columns!("")
    ))
    .bind(Json(taken))
    .bind(Micros::from(at))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Product::try_from).collect()
}

/// Stores decisions. An order that is not pending any more would mean that it is decided a
/// second time: the count of rows catches it, and the transaction is given up.
pub(super) async fn write_decisions(
    connection: &mut SqliteConnection,
    decisions: &[(OrderId, Decision)],
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let rows: Vec<_> = decisions
        .iter()
        .map(|(id, decision)| match decision {
            Ok(()) => json!([hex(id.0)]),
            Err(failure) => json!([
                hex(id.0),
                failure.code.as_str(),
                hex(failure.product_id.0),
                failure.requested,
                failure.available,
            ]),
        })
        .collect();
    let written = sqlx::query(
        "UPDATE orders
         SET status = CASE WHEN d.code IS NULL THEN 'success' ELSE 'failed' END,
             failure_code = d.code, failure_product_id = unhex(d.product_id),
             failure_requested = d.requested, failure_available = d.available,
             decided_at = ?2
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS code, value ->> 2 AS product_id,
                      value ->> 3 AS requested, value ->> 4 AS available
               FROM json_each(?1)) AS d
         WHERE orders.id = d.id AND orders.status = 'pending'",
    )
    .bind(Json(rows))
    .bind(Micros::from(at))
    .execute(connection)
    .await?
    .rows_affected();
    plan::expect_all_written(decisions.len(), written)
}
