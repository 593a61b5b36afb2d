//! Products as orders meet them: their prices, and their stock under locks.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    backend::SqlConnection,
    plan::{self, LockedProducts, Prices},
    rows::{self, LockedRow, ProductRow, product_columns},
    value::Value,
};
use crate::{
    decision::requested_of,
    domain::{Product, ProductId, RequestedLine},
    error::Error,
};

/// The prices of those of `products` that are not archived.
pub(super) async fn prices<C: SqlConnection>(
    connection: &mut C,
    products: &[ProductId],
) -> Result<Prices, Error> {
    let ids = Value::Ids(products.iter().map(|id| id.0).collect());
    let rows: Vec<(Uuid, i64, bool)> = connection.fetch_all(C::SQL.products.prices, &[ids]).await?;
    rows::prices(rows)
}

/// Locks products in id order, the lock order: the statement sorts by it.
pub(super) async fn lock_products<C: SqlConnection>(
    connection: &mut C,
    ids: &[ProductId],
) -> Result<LockedProducts, Error> {
    let ids = Value::Ids(ids.iter().map(|id| id.0).collect());
    let rows: Vec<LockedRow> = connection
        .fetch_all(C::SQL.products.lock_stock, &[ids, Value::Now])
        .await?;
    rows::locked(rows)
}

const TAKE_IF_ENOUGH: &str = concat!(
    "UPDATE products SET stock = stock - $2, version = version + 1, updated_at = $3
     WHERE id = $1 AND archived_at IS NULL AND stock >= $2 AND limit_per_customer IS NULL
       AND on_sale_from IS NULL AND on_sale_until IS NULL RETURNING ",
    product_columns!("")
);

/// Takes what `lines` ask for, product by product in id order, and gives the changed
/// products; `None` at the first that has too little, or is sold on terms. What was taken until then is the
/// caller's to roll back.
pub(super) async fn take_if_enough<C: SqlConnection>(
    connection: &mut C,
    lines: &[RequestedLine],
    at: DateTime<Utc>,
) -> Result<Option<Vec<Product>>, Error> {
    let mut changed = Vec::new();
    for id in plan::products_of(lines) {
        let values = [
            Value::Id(id.0),
            Value::Int(requested_of(id, lines)),
            Value::Time(at),
        ];
        let row: Option<ProductRow> = connection.fetch_optional(TAKE_IF_ENOUGH, &values).await?;
        match row {
            Some(row) => changed.push(row.try_into()?),
            None => return Ok(None),
        }
    }
    Ok(Some(changed))
}
