//! The orders of tasks that were claimed, all in one row: a row costs the driver a copy of each of its
//! columns, and a passage from the thread of its connection, which is more than the statement takes
//! to find it.

use serde::de::DeserializeOwned;
use sqlx::{SqliteConnection, types::Json};
use uuid::Uuid;

use crate::{
    domain::Order,
    error::Error,
    store::sql::{
        backend::SqlConnection,
        rows::{self, LineRow, OrderRow},
        value::Value,
    },
};

/// The columns of [`OrderRow`], in the order of its fields.
const ORDERS: &str = "SELECT json_group_array(json_array(
        hex(id), status, total_price, reference, failure_code,
        nullif(hex(failure_product_id), ''), failure_requested, failure_available, created_at,
        decided_at, completed_at, cancelled_at, trace_parent, nullif(hex(client_id), ''), customer,
        hold_seconds, held_at, held_until, confirmed_at, failure_detail,
        CAST(cancelled_quantities AS text)))
     FROM orders WHERE id IN (SELECT unhex(value) FROM json_each($1))";

/// Those of [`LineRow`]. The lines of an order come in their order: by their key.
const LINES: &str = "SELECT json_group_array(json_array(
        hex(order_id), hex(product_id), quantity, unit_price))
     FROM (SELECT order_id, product_id, quantity, unit_price FROM order_lines
           WHERE order_id IN (SELECT unhex(value) FROM json_each($1))
           ORDER BY order_id, line_no)";

/// Orders by id; ids that are not there are left out.
pub(super) async fn claimed_orders(
    connection: &mut SqliteConnection,
    ids: Vec<Uuid>,
) -> Result<Vec<Order>, Error> {
    let ids = [Value::Ids(ids)];
    let orders: Vec<OrderRow> = in_one_row(connection, ORDERS, &ids).await?;
    let lines: Vec<LineRow> = in_one_row(connection, LINES, &ids).await?;
    rows::assemble(orders, lines)
}

async fn in_one_row<T>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    ids: &[Value<'_>],
) -> Result<Vec<T>, Error>
where
    T: DeserializeOwned + Send + Unpin + 'static,
{
    let (Json(rows),): (Json<Vec<T>>,) = connection.fetch_one(statement, ids).await?;
    Ok(rows)
}
