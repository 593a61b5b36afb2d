//! Storing new orders as pending.

use std::collections::HashMap;

use sqlx::{Arguments, PgConnection, postgres::PgArguments};
use uuid::Uuid;

use super::{PostgresStore, idempotency::keys_of, read::by_id, session};
use crate::{
    domain::{Money, NewOrder, Order, OrderMode, OrderStatus, ProductId},
    error::Error,
    store::{
        error::on_commit,
        idempotency::{Batch, Kept},
        plan,
        retry::Retry,
        rows,
    },
};

/// The statement that inserts orders, their lines and keys, and tallies them; those that are
/// sold get their tasks, so that there is no second write to be lost. From a state and 15 arrays;
/// `$also` are further steps of the same statement, `$if` is whether to write at all, and
/// `$result` is what it gives.
macro_rules! insert_orders {
    ($also:expr, $if:literal, $($result:expr),+) => {
        concat!(
            "WITH ",
            $also,
            "inserted AS (
                 INSERT INTO orders (id, status, total_price, reference, created_at, decided_at,
                                     trace_parent)
                 SELECT o.id, $1::order_status, o.total_price, o.reference, o.created_at,
                        CASE WHEN $1::order_status = 'success' THEN o.created_at END, o.trace_parent
                 FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $16::text[])
                      AS o (id, total_price, reference, created_at, trace_parent) WHERE ", $if, "),
             lines AS (
                 INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
                 SELECT * FROM unnest($6::uuid[], $7::smallint[], $8::uuid[], $9::integer[],
                                      $10::bigint[]) AS lines WHERE ", $if, "),
             tasks AS (
                 INSERT INTO task_batches (sold_at, order_ids)
                 SELECT o.created_at, array_agg(o.id)
                 FROM unnest($2::uuid[], $5::timestamptz[]) AS o (id, created_at)
                 WHERE $1::order_status = 'success' AND ", $if, " GROUP BY o.created_at),
             tallied AS (
                 INSERT INTO order_tallies (accepted, sold)
                 SELECT count, CASE WHEN $1::order_status = 'success' THEN count ELSE 0 END
                 FROM (SELECT cardinality($2::uuid[])) AS o (count) WHERE ", $if, "),
             kept AS (
                 INSERT INTO idempotency_keys (scope, key, fingerprint, target_id, created_at)
                 SELECT * FROM unnest($11::uuid[], $12::text[], $13::bytea[], $14::uuid[],
                                      $15::timestamptz[]) AS keys WHERE ", $if, ")
             SELECT ",
            $($result),+
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
        let mut connection = self.connections.acquire().await?;
        let used = keys_of(&mut connection, orders).await?;
        let batch = Batch::new(orders, OrderMode::Accept, used);
        let stored = by_id(&mut connection, batch.to_read(retry)).await?;
        let products = plan::products_of(batch.lines());
        let prices = prices(&mut connection, &products).await?;
        let settled = batch.settle(&stored, |order| {
            let priced = order.priced(|id| prices.get(&id).copied());
            priced.map_err(Error::from)
        });
        let columns = Columns::of(settled.made(), &settled.kept);
        if !columns.is_empty() {
            let arguments = columns.into_arguments(OrderStatus::Pending)?;
            sqlx::query_with(insert_orders!("", "true", "1"), arguments)
                .execute(&mut *connection)
                .await
                .map_err(on_commit)?;
            if let Some(first) = settled.made().map(|order| order.id.0).min() {
                self.frontier.retreat(first);
            }
        } else if settled.results.iter().any(Result::is_ok) {
            session::assure(&mut connection).await?;
        }
        Ok(settled.results)
    }
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

/// Orders, their lines and their keys as one array per column.
#[derive(Default)]
pub(super) struct Columns {
    id: Vec<Uuid>,
    total_price: Vec<i64>,
    reference: Vec<Option<String>>,
    created_at: Vec<chrono::DateTime<chrono::Utc>>,
    trace_parent: Vec<Option<String>>,
    line_order_id: Vec<Uuid>,
    line_no: Vec<i16>,
    line_product_id: Vec<Uuid>,
    line_quantity: Vec<i32>,
    line_unit_price: Vec<i64>,
    key_scope: Vec<Uuid>,
    key: Vec<String>,
    key_fingerprint: Vec<Vec<u8>>,
    key_target_id: Vec<Uuid>,
    key_created_at: Vec<chrono::DateTime<chrono::Utc>>,
}

impl Columns {
    pub(super) fn of<'a>(orders: impl Iterator<Item = &'a Order>, keys: &[Kept]) -> Self {
        let mut columns = Self::default();
        for order in orders {
            columns.id.push(order.id.0);
            columns.total_price.push(order.total_price.minor_units());
            columns.reference.push(order.reference.clone());
            columns.created_at.push(order.created_at);
            let trace_parent = order.trace_parent.map(|parent| parent.to_string());
            columns.trace_parent.push(trace_parent);
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
        for kept in keys {
            columns.key_scope.push(kept.key.scope);
            columns.key.push(kept.key.key.clone());
            columns
                .key_fingerprint
                .push(kept.fingerprint.as_bytes().to_vec());
            columns.key_target_id.push(kept.target_id);
            columns.key_created_at.push(kept.created_at);
        }
        columns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// The first 16 arguments of [`insert_orders!`]: the state, and the arrays.
    pub(super) fn into_arguments(self, status: OrderStatus) -> Result<PgArguments, Error> {
        let mut arguments = PgArguments::default();
        let add = || -> Result<(), sqlx::error::BoxDynError> {
            arguments.add(status.as_str())?;
            arguments.add(self.id)?;
            arguments.add(self.total_price)?;
            arguments.add(self.reference)?;
            arguments.add(self.created_at)?;
            arguments.add(self.line_order_id)?;
            arguments.add(self.line_no)?;
            arguments.add(self.line_product_id)?;
            arguments.add(self.line_quantity)?;
            arguments.add(self.line_unit_price)?;
            arguments.add(self.key_scope)?;
            arguments.add(self.key)?;
            arguments.add(self.key_fingerprint)?;
            arguments.add(self.key_target_id)?;
            arguments.add(self.key_created_at)?;
            arguments.add(self.trace_parent)
        };
        add().map_err(sqlx::Error::Encode)?;
        Ok(arguments)
    }
}
