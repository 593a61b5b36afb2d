//! Storing new orders.

use std::collections::HashMap;

use serde_json::json;
use sqlx::{SqliteConnection, types::Json};
use uuid::Uuid;

use super::{
    SqliteStore, hex,
    idempotency::{keep, keys_of},
    json_ids,
    read::by_id,
};
use crate::{
    domain::{Money, NewOrder, Order, OrderMode, OrderStatus, ProductId},
    error::Error,
    store::{
        idempotency::Batch,
        plan,
        retry::Retry,
        rows::{self, Micros},
    },
};

impl SqliteStore {
    pub(super) async fn accept_once(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        let mut tx = self.writer.begin().await?;
        let used = keys_of(&mut tx, orders).await?;
        let batch = Batch::new(orders, OrderMode::Accept, used);
        let stored = by_id(&mut tx, batch.to_read(retry)).await?;
        let prices = prices(&mut tx, &plan::products_of(batch.lines())).await?;
        let settled = batch.settle(&stored, |order| {
            let priced = order.priced(|id| prices.get(&id).copied());
            priced.map_err(Error::from)
        });
        let accepted: Vec<&Order> = settled.made().collect();
        insert(&mut tx, &accepted).await?;
        keep(&mut tx, &settled.kept).await?;
        tx.commit().await?;
        Ok(settled.results)
    }
}

/// The prices of those of `products` that are on sale.
pub(super) async fn prices(
    connection: &mut SqliteConnection,
    products: &[ProductId],
) -> Result<HashMap<ProductId, Money>, Error> {
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT id, price FROM products
         WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND archived_at IS NULL",
    )
    .bind(json_ids(products.iter().map(|id| id.0)))
    .fetch_all(connection)
    .await?;
    rows::prices(rows)
}

/// Inserts orders, pending or sold as they came, and their lines.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    orders: &[&Order],
) -> Result<(), Error> {
    if orders.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = orders
        .iter()
        .map(|order| {
            json!([
                hex(order.id.0),
                order.status.as_str(),
                order.total_price.minor_units(),
                order.reference,
                order.created_at.timestamp_micros(),
                (order.status == OrderStatus::Success).then(|| order.created_at.timestamp_micros()),
                order.trace_parent.map(|parent| parent.to_string()),
            ])
        })
        .collect();
    sqlx::query(
        "INSERT INTO orders (id, status, total_price, reference, created_at, decided_at,
                             trace_parent, stored_at)
         SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                value ->> 6, ?2
         FROM json_each(?1)",
    )
    .bind(Json(rows))
    .bind(Micros::now())
    .execute(&mut *connection)
    .await?;
    let lines: Vec<_> = orders
        .iter()
        .flat_map(|order| {
            (1..).zip(&order.lines).map(|(line_no, line)| {
                json!([
                    hex(order.id.0),
                    line_no,
                    hex(line.product_id.0),
                    line.quantity,
                    line.unit_price.minor_units(),
                ])
            })
        })
        .collect();
    sqlx::query(
        "INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
         SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4
         FROM json_each(?1)",
    )
    .bind(Json(lines))
    .execute(connection)
    .await?;
    Ok(())
}
