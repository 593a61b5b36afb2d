//! Orders: the statements that read, insert and cancel them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Arguments, postgres::PgArguments, types::Json};
use uuid::Uuid;

use crate::{
    domain::{HoldTime, Order, OrderLine, OrderStatus},
    store::sql::{
        backend::Pieces,
        idempotency_record::IdempotencyRecord,
        plan::products_of,
        rows::{order_columns, product_columns},
        sorted::sorted,
        statements::OrderStatements,
    },
};

macro_rules! along_product_orders {
    ($after:literal, $direction:literal) => {
        concat!(
            " ORDER BY order_id ",
            $direction,
            ") line
         CROSS JOIN LATERAL (SELECT * FROM orders WHERE id = order_id OFFSET 0) orders WHERE true"
        )
    };
}

pub(super) const STATEMENTS: OrderStatements = OrderStatements {
    read: concat!(
        "SELECT ",
        order_columns!(),
        " FROM orders WHERE id = ANY($1) ORDER BY id"
    ),
    lines: "SELECT order_id, product_id, quantity, unit_price FROM order_lines
         WHERE order_id = ANY($1) ORDER BY order_id, line_no",
    progress: "SELECT id, CAST(status AS text) AS status, created_at, decided_at, held_until,
                confirmed_at, completed_at, cancelled_at
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
         INSERT INTO order_counters (cancelled, returned, released) VALUES (1, $4, $5)",
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
               WHERE product_id = $1",
    along_product_orders: sorted!(along_product_orders),
    along_product_end: "",
    had_by_customers: "SELECT o.customer, line.product_id, line.kept::bigint,
                CASE WHEN o.status = 'held' THEN o.id END
         FROM jsonb_array_elements_text($1::jsonb) AS asked (customer),
              LATERAL (SELECT id, customer, status::text AS status, held_until, cancelled_quantities
                       FROM orders WHERE customer = asked.customer
                         AND status::text IN ('held', 'success', 'completed') OFFSET 0) o,
              LATERAL (SELECT product_id, quantity
                              - coalesce((o.cancelled_quantities ->> (line_no - 1))::integer, 0) AS kept
                       FROM order_lines
                       WHERE order_id = o.id AND product_id = ANY($2) OFFSET 0) line
         WHERE line.kept > 0 AND (o.status <> 'held' OR o.held_until > clock_timestamp())
         UNION ALL
         SELECT asked.customer, had.product_id, had.pieces, NULL
         FROM jsonb_array_elements_text($1::jsonb) AS asked (customer),
              LATERAL (SELECT product_id, pieces FROM archived_purchases
                       WHERE customer = asked.customer AND product_id = ANY($2) OFFSET 0) had",
    has_product: " AND id IN (SELECT order_id FROM order_lines WHERE product_id = $2)",
};

/// By products: their ids, the pieces, and the time. Of each return: the product, its own id, the order
/// and the pieces.
pub(super) const RETURN_STOCK: &str = concat!(
    "WITH kept AS (
         INSERT INTO stock_returns (product_id, id, order_id, quantity, created_at)
         SELECT product_id, id, order_id, pieces, $3
         FROM unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::bigint[])
              AS back (product_id, id, order_id, pieces))
     UPDATE products p
     SET stock = p.stock + back.pieces, version = p.version + 1, updated_at = $3
     FROM unnest($1::uuid[], $2::bigint[]) AS back (id, pieces)
     WHERE p.id = back.id RETURNING ",
    product_columns!("p.")
);

/// The statement that inserts orders, their lines and keys, and counts them; those that are
/// sold get their tasks, so that there is no second write to be lost. From a state, the time at which
/// holds begin, and arrays (`$1` to `$24`), of which those of what no order asks for are empty, and so
/// as good as nulls; [`take_stock!`] adds ids, pieces by id, the time, and the time at which the
/// first hold ends (`$25` to `$28`), and a checked insert prices by id and its deadline (`$29`, `$30`);
/// `$also` are further steps of the same statement, `$if` is whether to write at all, and
/// `$result` is what it gives.
macro_rules! insert_orders {
    ($also:expr, $if:literal, $($result:expr),+) => {
        concat!(
            "WITH ",
            $also,
            "inserted AS (
                 INSERT INTO orders (id, status, total_price, reference, created_at, decided_at,
                                     trace_parent, client_id, customer, hold_seconds, held_at,
                                     held_until)
                 SELECT o.id, CASE WHEN o.held_until IS NULL THEN $1::order_status
                                   ELSE 'held'::order_status END, o.total_price, o.reference, o.created_at,
                        CASE WHEN $1::order_status = 'success' THEN o.created_at END, o.trace_parent,
                        o.client_id, o.customer, o.hold_seconds,
                        CASE WHEN o.held_until IS NOT NULL THEN $21 END, o.held_until
                 FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[], $16::text[],
                             $17::uuid[], $18::text[], $19::integer[], $20::timestamptz[])
                      AS o (id, total_price, reference, created_at, trace_parent, client_id,
                            customer, hold_seconds, held_until)
                 WHERE ", $if, "),
             lines AS (
                 INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
                 SELECT * FROM unnest($6::uuid[], $7::smallint[], $8::uuid[], $9::integer[],
                                      $10::bigint[]) AS lines WHERE ", $if, "),
             tasks AS (
                 INSERT INTO task_batches (sold_at, order_ids)
                 SELECT o.created_at, array_agg(o.id)
                 FROM unnest($2::uuid[], $5::timestamptz[], $20::timestamptz[])
                      AS o (id, created_at, held_until)
                 WHERE $1::order_status = 'success' AND o.held_until IS NULL AND ", $if, " GROUP BY o.created_at),
             counters AS (
                 INSERT INTO order_counters (accepted, sold, held)
                 SELECT count, CASE WHEN $1::order_status = 'success' THEN count - held ELSE 0 END,
                        held
                 FROM (SELECT cardinality($2::uuid[]),
                              cardinality(array_remove($20::timestamptz[], NULL)))
                      AS o (count, held) WHERE ", $if, "),
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
                 SET stock = stock - ($26::jsonb -> id::text)::bigint,
                     version = version + 1, updated_at = $27,
                     lapses_at = least(lapses_at, $28)
                 WHERE id = ANY($25) AND ",
            $if,
            " RETURNING *), "
        )
    };
}
pub(super) use take_stock;

pub(super) const INSERT_PENDING: &str = insert_orders!("", "true", "1");

/// The step that writes the open holds, if `$if`.
macro_rules! write_holds {
    ($if:literal) => {
        concat!(
            "holds AS (
                 INSERT INTO holds (order_id, product_id, held_until)
                 SELECT * FROM unnest($22::uuid[], $23::uuid[], $24::timestamptz[]) AS holds
                 WHERE ",
            $if,
            "), "
        )
    };
}
pub(super) use write_holds;

/// The same as [`INSERT_SOLD`], of orders that are held, some or all.
pub(super) const INSERT_HELD: &str = insert_orders!(
    concat!(take_stock!("true"), write_holds!("true")),
    "true",
    product_columns!(""),
    " FROM taken"
);

pub(super) const INSERT_SOLD: &str = insert_orders!(
    take_stock!("true"),
    "true",
    product_columns!(""),
    " FROM taken"
);

/// The first 24 arguments of [`insert_orders!`]: the state of the orders, and one array per column.
pub(super) fn insert_arguments(
    orders: &[&Order],
    keys: &[IdempotencyRecord],
) -> Result<PgArguments, sqlx::Error> {
    let is_decided = orders.iter().any(|o| o.status != OrderStatus::Pending);
    let status = if is_decided {
        OrderStatus::Success
    } else {
        OrderStatus::Pending
    };
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
        arguments.add(column(orders, |order| order.client.map(|client| client.0)))?;
        arguments.add(given(orders, |order| order.customer.as_deref()))?;
        let hold_seconds = |order: &&Order| {
            let seconds = order.hold_time.map(HoldTime::seconds);
            seconds.map(u32::cast_signed)
        };
        arguments.add(given(orders, hold_seconds))?;
        arguments.add(given(orders, |order| order.held_until))?;
        arguments.add(orders.iter().find_map(|order| order.held_at))?;
        let holds = holds(orders);
        arguments.add(column(&holds, |(id, ..)| *id))?;
        arguments.add(column(&holds, |(_, product, _)| *product))?;
        arguments.add(column(&holds, |(.., until)| *until))
    };
    add().map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

/// The time at which the first hold of `orders` ends.
pub(super) fn first_lapse(orders: &[&Order]) -> Option<DateTime<Utc>> {
    orders.iter().filter_map(|order| order.held_until).min()
}

/// The holds of orders: each with its products, once.
fn holds(orders: &[&Order]) -> Vec<(Uuid, Uuid, DateTime<Utc>)> {
    let of = |order: &&Order| {
        let (id, until) = (order.id.0, order.held_until);
        let products = products_of(&order.requested_lines());
        let holds = products.into_iter().map(move |product| (id, product.0));
        holds.filter_map(move |(id, product)| Some((id, product, until?)))
    };
    let held = orders.iter().filter(|order| order.held_until.is_some());
    held.flat_map(of).collect()
}

/// A column that is empty when no row has a value.
fn given<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> Option<T>) -> Vec<Option<T>> {
    let column = column(rows, value);
    if column.iter().all(Option::is_none) {
        return Vec::new();
    }
    column
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
