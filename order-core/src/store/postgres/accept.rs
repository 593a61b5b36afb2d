//! Storing new orders as pending.

use std::collections::HashMap;

use sqlx::{PgConnection, postgres::PgArguments, query::Query};
use uuid::Uuid;

use super::{PostgresStore, orders::load};
use crate::{
    domain::{Money, NewOrder, Order, OrderId, ProductId},
    error::Error,
    store::{error::on_commit, plan, retry::Retry, rows},
};

/// The statement that inserts orders and their lines, from a state and nine arrays;
/// `$before` are further steps of the same statement.
macro_rules! insert_orders {
    ($before:literal) => {
        concat!(
            "WITH ",
            $before,
            "inserted AS (
                 INSERT INTO orders (id, status, total_price, reference, created_at, decided_at)
                 SELECT o.id, $1::order_status, o.total_price, o.reference, o.created_at,
                        CASE WHEN $1::order_status = 'success' THEN o.created_at END
                 FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[])
                      AS o (id, total_price, reference, created_at))
             INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
             SELECT * FROM unnest($6::uuid[], $7::smallint[], $8::uuid[], $9::integer[], $10::bigint[])"
        )
    };
}
pub(super) use insert_orders;

impl PostgresStore {
    /// Two statements, the second of which commits by itself: no transaction to open and close.
    pub(super) async fn accept_once(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        let mut connection = self.pool.acquire().await?;
        let stored = if retry.resolving() {
            stored(&mut connection, orders).await?
        } else {
            HashMap::new()
        };
        let fresh: Vec<&NewOrder> = orders
            .iter()
            .filter(|order| !stored.contains_key(&order.id))
            .collect();
        let products = plan::products_of(fresh.iter().flat_map(|order| &order.lines));
        let prices = prices(&mut connection, &products).await?;
        let priced: Vec<_> = fresh
            .iter()
            .map(|order| order.priced(|id| prices.get(&id).copied()))
            .collect();
        let columns = Columns::of(priced.iter().flatten());
        if !columns.is_empty() {
            columns
                .bind_to(sqlx::query(insert_orders!("")).bind("pending"))
                .execute(&mut *connection)
                .await
                .map_err(on_commit)?;
        }
        Ok(plan::merge(orders, stored, priced))
    }
}

/// Those of `orders` that are stored already.
pub(super) async fn stored(
    connection: &mut PgConnection,
    orders: &[NewOrder],
) -> Result<HashMap<OrderId, Order>, Error> {
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id.0).collect();
    let found = load(connection, ids).await?;
    Ok(found.into_iter().map(|order| (order.id, order)).collect())
}

/// The prices of those of `products` that are on sale.
pub(super) async fn prices(
    connection: &mut PgConnection,
    products: &[ProductId],
) -> Result<HashMap<ProductId, Money>, Error> {
    let ids: Vec<Uuid> = products.iter().map(|id| id.0).collect();
    let rows: Vec<(Uuid, i64)> =
        sqlx::query_as("SELECT id, price FROM products WHERE id = ANY($1) AND archived_at IS NULL")
            .bind(ids)
            .fetch_all(connection)
            .await?;
    rows::prices(rows)
}

/// Orders and their lines as one array per column.
#[derive(Default)]
pub(super) struct Columns {
    id: Vec<Uuid>,
    total_price: Vec<i64>,
    reference: Vec<Option<String>>,
    created_at: Vec<chrono::DateTime<chrono::Utc>>,
    line_order_id: Vec<Uuid>,
    line_no: Vec<i16>,
    line_product_id: Vec<Uuid>,
    line_quantity: Vec<i32>,
    line_unit_price: Vec<i64>,
}

impl Columns {
    pub(super) fn of<'a>(orders: impl Iterator<Item = &'a Order>) -> Self {
        let mut columns = Self::default();
        for order in orders {
            columns.id.push(order.id.0);
            columns.total_price.push(order.total_price.minor_units());
            columns.reference.push(order.reference.clone());
            columns.created_at.push(order.created_at);
            for (line_no, line) in (1..).zip(&order.lines) {
                columns.line_order_id.push(order.id.0);
                columns.line_no.push(line_no);
                columns.line_product_id.push(line.product_id.0);
                // A quantity is at most 1 000 000.
                columns
                    .line_quantity
                    .push(i32::try_from(line.quantity.get()).unwrap_or(i32::MAX));
                columns.line_unit_price.push(line.unit_price.minor_units());
            }
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// Binds the arrays as parameters 2 to 10 of [`insert_orders!`].
    pub(super) fn bind_to(
        self,
        query: Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Query<'_, sqlx::Postgres, PgArguments> {
        query
            .bind(self.id)
            .bind(self.total_price)
            .bind(self.reference)
            .bind(self.created_at)
            .bind(self.line_order_id)
            .bind(self.line_no)
            .bind(self.line_product_id)
            .bind(self.line_quantity)
            .bind(self.line_unit_price)
    }
}
