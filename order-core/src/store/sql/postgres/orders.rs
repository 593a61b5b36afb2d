//! Orders: the statements that read, insert and cancel them.

use std::collections::HashMap;

use sqlx::{Arguments, postgres::PgArguments, types::Json};
use uuid::Uuid;

use crate::{
    domain::{Order, OrderLine, OrderStatus},
    store::sql::{
        backend::Pieces,
        idempotency_record::IdempotencyRecord,
        rows::{order_columns, product_columns},
        statements::OrderStatements,
    },
};

pub(super) const STATEMENTS: OrderStatements = OrderStatements {
    read: concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE id = ANY($1) ORDER BY id"
    ),
    lines: "SELECT order_id, product_id, quantity, unit_price FROM order_lines
         WHERE order_id = ANY($1) ORDER BY order_id, line_no",
    progress: "SELECT id, CAST(status AS text) AS status, created_at, decided_at, completed_at,
                cancelled_at
         FROM orders WHERE id = ANY($1)",
    lock: concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE id = $1 FOR NO KEY UPDATE"
    ),
    cancel: "WITH cancelled AS (
             UPDATE orders SET status = 'cancelled', cancelled_at = $2, total_price = 0,
                    cancelled_quantities = $3::jsonb
             WHERE id = $1)
         INSERT INTO order_counters (cancelled, returned) VALUES (1, $4)",
    give_back: "UPDATE orders SET total_price = $2, cancelled_quantities = $3::jsonb WHERE id = $1",
    pending_for: "SELECT id FROM orders
         WHERE status = 'pending' AND coalesce(stored_at, created_at)
               <= (SELECT clock_timestamp() - $1::bigint * interval '1 microsecond')
               AND id > $2
         ORDER BY id LIMIT $3",
    backlog:
        "SELECT (SELECT count(*) FROM (SELECT FROM orders WHERE status <= 'pending' LIMIT $1) o),
                (SELECT CAST(date_part('epoch', clock_timestamp() - coalesce(stored_at, created_at))
                             * 1000000 AS bigint)
                 FROM orders WHERE status <= 'pending' ORDER BY status, id LIMIT 1)",
    // `OFFSET 0` keeps the planner to the way along the lines.
    along_product: " FROM (SELECT DISTINCT order_id FROM order_lines
               WHERE product_id = $1 AND order_id < $2",
    along_product_orders: " ORDER BY order_id DESC) line
         CROSS JOIN LATERAL (SELECT * FROM orders WHERE id = order_id OFFSET 0) orders WHERE true",
    along_product_end: "",
    has_product: " AND id IN (SELECT order_id FROM order_lines WHERE product_id = $2)",
};

/// Of an order, by products: their ids, the pieces, the time, and the ids of the return and the order.
pub(super) const RETURN_STOCK: &str = concat!(
    "WITH kept AS (
         INSERT INTO stock_returns (product_id, id, order_id, quantity, created_at)
         SELECT product_id, $4, $5, pieces, $3
         FROM unnest($1::uuid[], $2::bigint[]) AS back (product_id, pieces))
     UPDATE products p
     SET stock = p.stock + back.pieces, version = p.version + 1, updated_at = $3
     FROM unnest($1::uuid[], $2::bigint[]) AS back (id, pieces)
     WHERE p.id = back.id RETURNING ",
    product_columns!("p.")
);

/// The statement that inserts orders, their lines and keys, and counts them; those that are
/// sold get their tasks, so that there is no second write to be lost. From a state and 16 arrays
/// (`$1` to `$17`); [`take_stock!`] adds ids, pieces by id and the time (`$18` to `$20`), and a
/// checked insert prices by id and its deadline (`$21`, `$22`);
/// `$also` are further steps of the same statement, `$if` is whether to write at all, and
/// `$result` is what it gives.
macro_rules! insert_orders {
    ($also:expr, $if:literal, $($result:expr),+) => {
        concat!(
            "WITH ",
            $also,
            "inserted AS (
                 INSERT INTO orders (id, status, total_price, reference, created_at, decided_at,
                                     trace_parent, client_id)
                 SELECT o.id, $1::order_status, o.total_price, o.reference, o.created_at,
                        CASE WHEN $1::order_status = 'success' THEN o.created_at END, o.trace_parent,
                        o.client_id
                 FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $16::text[],
                             $17::uuid[])
                      AS o (id, total_price, reference, created_at, trace_parent, client_id)
                 WHERE ", $if, "),
             lines AS (
                 INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
                 SELECT * FROM unnest($6::uuid[], $7::smallint[], $8::uuid[], $9::integer[],
                                      $10::bigint[]) AS lines WHERE ", $if, "),
             tasks AS (
                 INSERT INTO task_batches (sold_at, order_ids)
                 SELECT o.created_at, array_agg(o.id)
                 FROM unnest($2::uuid[], $5::timestamptz[]) AS o (id, created_at)
                 WHERE $1::order_status = 'success' AND ", $if, " GROUP BY o.created_at),
             counters AS (
                 INSERT INTO order_counters (accepted, sold)
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

/// The step that takes stock, if `$if`.
macro_rules! take_stock {
    ($if:literal) => {
        concat!(
            "taken AS (
                 UPDATE products
                 SET stock = stock - ($19::jsonb -> id::text)::bigint,
                     version = version + 1, updated_at = $20
                 WHERE id = ANY($18) AND ",
            $if,
            " RETURNING *), "
        )
    };
}
pub(super) use take_stock;

pub(super) const INSERT_PENDING: &str = insert_orders!("", "true", "1");

pub(super) const INSERT_SOLD: &str = insert_orders!(
    take_stock!("true"),
    "true",
    product_columns!(""),
    " FROM taken"
);

/// The first 17 arguments of [`insert_orders!`]: the state of the orders, and one array per column.
pub(super) fn insert_arguments(
    orders: &[&Order],
    keys: &[IdempotencyRecord],
) -> Result<PgArguments, sqlx::Error> {
    let status = orders.first().map_or(OrderStatus::Pending, |o| o.status);
    let lines = orders.iter().flat_map(|order| {
        let numbered = (1..).zip(&order.lines);
        numbered.map(|(line_no, line)| (order.id.0, line_no, line))
    });
    let lines: Vec<(Uuid, i16, &OrderLine)> = lines.collect();
    let mut arguments = PgArguments::default();
    let mut add = || -> Result<(), sqlx::error::BoxDynError> {
        arguments.add(status.as_str())?;
        arguments.add(column(orders, |order| order.id.0))?;
        arguments.add(column(orders, |order| order.total_price.minor_units()))?;
        arguments.add(column(orders, |order| order.reference.as_deref()))?;
        arguments.add(column(orders, |order| order.created_at))?;
        arguments.add(column(&lines, |(id, ..)| *id))?;
        arguments.add(column(&lines, |(_, line_no, _)| *line_no))?;
        arguments.add(column(&lines, |(.., line)| line.product_id.0))?;
        arguments.add(column(&lines, |(.., line)| quantity(line)))?;
        arguments.add(column(&lines, |(.., line)| line.unit_price.minor_units()))?;
        arguments.add(column(keys, |record| record.key.scope))?;
        arguments.add(column(keys, |record| record.key.key.as_str()))?;
        arguments.add(column(keys, |record| {
            record.fingerprint.as_bytes().as_slice()
        }))?;
        arguments.add(column(keys, |record| record.target_id))?;
        arguments.add(column(keys, |record| record.created_at))?;
        let trace_parent = |order: &&Order| order.trace_parent.map(|parent| parent.to_string());
        arguments.add(column(orders, trace_parent))?;
        arguments.add(column(orders, |order| order.client.map(|client| client.0)))
    };
    add().map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// A quantity is at most 1 000 000.
fn quantity(line: &OrderLine) -> i32 {
    i32::try_from(line.quantity.get()).unwrap_or(i32::MAX)
}

/// The ids, and the pieces by id as a JSON object. In any order: the rows are locked by then.
pub(super) fn by_id(pieces: &Pieces) -> (Vec<Uuid>, Json<HashMap<Uuid, i64>>) {
    let pieces: HashMap<Uuid, i64> = pieces.iter().map(|(id, n)| (id.0, *n)).collect();
    (pieces.keys().copied().collect(), Json(pieces))
}
