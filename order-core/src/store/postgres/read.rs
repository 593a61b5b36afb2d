//! Reading orders with their lines.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{Order, OrderId},
    error::Error,
    store::rows::{self, LineRow, select_lines, select_order},
};

pub(super) type OrderRow = rows::OrderRow<DateTime<Utc>>;

/// Orders by id, in id order; ids that are not there are left out.
pub(super) async fn load(
    connection: &mut PgConnection,
    ids: Vec<Uuid>,
) -> Result<Vec<Order>, Error> {
    let rows: Vec<OrderRow> = sqlx::query_as(select_order!("WHERE id = ANY($1) ORDER BY id"))
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
    with_lines(connection, rows).await
}

/// Fetches the lines of `orders`. Lines never change, so that reading them in a second
/// statement is as good as in the same one.
pub(super) async fn with_lines(
    connection: &mut PgConnection,
    orders: Vec<OrderRow>,
) -> Result<Vec<Order>, Error> {
    let ids: Vec<Uuid> = orders.iter().map(|row| row.id).collect();
    let lines: Vec<LineRow> = sqlx::query_as(select_lines!(
        "WHERE order_id = ANY($1) ORDER BY order_id, line_no"
    ))
    .bind(ids)
    .fetch_all(connection)
    .await?;
    rows::assemble(orders, lines)
}

/// Orders by id; none, and no query, when there are no ids.
pub(super) async fn by_id(
    connection: &mut PgConnection,
    ids: Vec<Uuid>,
) -> Result<HashMap<OrderId, Order>, Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = load(connection, ids).await?;
    Ok(found.into_iter().map(|order| (order.id, order)).collect())
}
