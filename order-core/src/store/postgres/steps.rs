//! Lock, decide, write: how orders get their turn under locked product rows.
//!
//! Each statement finds its rows by `id = ANY(…)` and takes what belongs to each from a JSON
//! object by that id. A join with the arrays would be the usual way, and the planner is free
//! to run it from the wrong end: when its statistics say that nothing is pending, it walks
//! all that is pending for each order of the batch. One table and one index leave no choice.
//! For the same reason the state is compared as text, which no partial index offers.
//!
//! The batch strategy gives a turn to many orders in one transaction, the row lock strategy
//! to one. What differs is the size of the batch, and nothing else.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::accept::{Columns, insert_orders};
use crate::{
    decision::Decision,
    domain::{Failure, OrderId, OrderStatus, Product, ProductId, RequestedLine},
    error::Error,
    store::{
        Decided, Outcome,
        error::on_commit,
        plan::{self, LockedProduct, PendingOrder},
        rows::{self, LockedRow, PendingRow, product_columns},
    },
};

type ProductRow = rows::ProductRow<DateTime<Utc>>;

/// What a batch takes: pieces of each product.
pub(super) type Taken = Vec<(ProductId, i64)>;

/// Decides claimed orders, whose products are locked, and writes the decisions.
pub(super) async fn decide_claimed(
    connection: &mut PgConnection,
    pending: &[PendingOrder],
    products: &[LockedProduct],
    at: DateTime<Utc>,
) -> Result<Outcome<Decided>, Error> {
    let mut batch_stock = plan::batch_stock(products);
    let decisions = plan::decide(pending, &mut batch_stock);
    let changed = write_decisions(
        connection,
        &decisions,
        batch_stock.deductions().collect(),
        at,
    )
    .await?;
    Ok(Outcome {
        results: decisions,
        changed,
        ..Outcome::default()
    })
}

/// The lines of the orders that `$claimed` locks, in their order. `OFFSET 0` keeps the
/// lookups of lines a nested loop, whatever the statistics say.
macro_rules! with_lines_of {
    ($claimed:literal) => {
        concat!(
            "WITH claimed AS MATERIALIZED (",
            $claimed,
            ")
             SELECT claimed.id, line.product_id, line.quantity
             FROM claimed, LATERAL (SELECT line_no, product_id, quantity FROM order_lines
                                    WHERE order_id = claimed.id OFFSET 0) line
             ORDER BY claimed.id, line.line_no"
        )
    };
}

/// The order of the rows is one that only the index of pending orders has: no plan can look
/// for them along the primary key, past all that was ever decided.
pub(crate) const CLAIM_OLDEST: &str = with_lines_of!(
    "SELECT id FROM orders WHERE status <= 'pending' AND (status, id) > ('pending', $1)
     ORDER BY status, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
);

/// The lock is taken above the sort, so that rows are locked in the order they come in.
pub(crate) const LOCK: &str = "SELECT id, price, stock, archived_at IS NOT NULL AS archived
     FROM products WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";

/// With the time, by the clock of the database.
const SEE: &str = "SELECT id, price, stock, archived_at IS NOT NULL AS archived,
            clock_timestamp() AS seen_at
     FROM products WHERE id = ANY($1)";

/// How long what was seen without a lock may be sold from.
pub(super) const SEEN_FOR: Duration = Duration::from_millis(500);

/// Writes decisions, takes stock, gives who is sold a task, so that there is no second write to
/// be lost, and tallies. Left of the join is one row, the count; so that it is there with no
/// product, too. That all of `$4` were sold is what the count is checked for.
pub(crate) const WRITE_DECISIONS: &str = concat!(
    "WITH taken AS (
         UPDATE products
         SET stock = stock - ($3::jsonb -> id::text)::bigint,
             version = version + 1, updated_at = $1
         WHERE id = ANY($2) RETURNING *),
     sold AS (
         UPDATE orders SET status = 'success', decided_at = $1
         WHERE id = ANY($4) AND status::text = 'pending' RETURNING created_at),
     failed AS (
         UPDATE orders
         SET status = 'failed', decided_at = $1,
             failure_code = $6::jsonb -> id::text ->> 0,
             failure_product_id = ($6::jsonb -> id::text ->> 1)::uuid,
             failure_requested = ($6::jsonb -> id::text -> 2)::bigint,
             failure_available = ($6::jsonb -> id::text -> 3)::bigint
         WHERE id = ANY($5) AND status::text = 'pending' RETURNING created_at),
     tasks AS (
         INSERT INTO task_batches (sold_at, order_ids)
         SELECT $1, $4 WHERE cardinality($4) > 0),
     counted AS MATERIALIZED (
         SELECT count(*) AS decided, (SELECT count(*) FROM sold) AS sold,
                count(*) FILTER (WHERE wait_us > 0) AS waited,
                coalesce(sum(wait_us) FILTER (WHERE wait_us > 0), 0) AS waited_us,
                greatest(max(wait_us), 0) AS max_wait_us
         FROM (SELECT date_part('epoch', $1 - created_at) * 1000000 AS wait_us
               FROM (SELECT created_at FROM sold UNION ALL SELECT created_at FROM failed) AS ended)
              AS ended),
     tallied AS (
         INSERT INTO order_tallies (sold, failed, waited, waited_us, max_wait_us)
         SELECT sold, decided - sold, waited, waited_us, max_wait_us FROM counted)
     SELECT counted.decided AS written, ",
    product_columns!("taken."),
    " FROM counted LEFT JOIN taken ON true"
);

/// Locks up to `limit` of the oldest pending orders after `after` that nobody else holds,
/// and reads their lines.
pub(super) async fn claim_oldest(
    connection: &mut PgConnection,
    after: Uuid,
    limit: usize,
) -> Result<Vec<PendingOrder>, Error> {
    let rows: Vec<PendingRow> = sqlx::query_as(CLAIM_OLDEST)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    rows::gather(rows)
}

/// What to do about an order that somebody holds locked.
#[derive(Clone, Copy, Debug)]
pub(super) enum OnLocked {
    Wait,
    Skip,
}

/// Locks those of `ids` that are pending, in id order, and reads their lines.
///
/// Nothing is held yet, so that waiting for an order row keeps nobody from a product.
pub(super) async fn claim_these(
    connection: &mut PgConnection,
    ids: &[OrderId],
    on_locked: OnLocked,
) -> Result<Vec<PendingOrder>, Error> {
    const WAITING: &str = with_lines_of!(
        "SELECT id FROM orders WHERE id = ANY($1) AND status::text = 'pending'
         ORDER BY id FOR NO KEY UPDATE"
    );
    const SKIPPING: &str = with_lines_of!(
        "SELECT id FROM orders WHERE id = ANY($1) AND status::text = 'pending'
         ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
    );
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let statement = match on_locked {
        OnLocked::Wait => WAITING,
        OnLocked::Skip => SKIPPING,
    };
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows: Vec<PendingRow> = sqlx::query_as(statement)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    rows::gather(rows)
}

/// The next `limit` pending orders after `after`, and which of them have a line of `products`.
pub(super) async fn look_around(
    connection: &mut PgConnection,
    after: Uuid,
    limit: usize,
    products: &[Uuid],
) -> Result<Vec<(Uuid, bool)>, Error> {
    let seen = sqlx::query_as(
        "SELECT id, EXISTS (SELECT FROM order_lines
                            WHERE order_id = near.id AND product_id = ANY($3) OFFSET 0)
         FROM (SELECT id FROM orders WHERE status <= 'pending' AND (status, id) > ('pending', $1)
               ORDER BY status, id LIMIT $2) near",
    )
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(products)
    .fetch_all(connection)
    .await?;
    Ok(seen)
}

/// Those of `ids` that are pending.
pub(super) async fn still_pending(
    connection: &mut PgConnection,
    ids: impl Iterator<Item = OrderId>,
) -> Result<Vec<OrderId>, Error> {
    let ids: Vec<Uuid> = ids.map(|id| id.0).collect();
    let pending: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM orders WHERE id = ANY($1) AND status::text = 'pending'")
            .bind(ids)
            .fetch_all(connection)
            .await?;
    Ok(pending.into_iter().map(OrderId).collect())
}

/// Locks the products that `lines` name, in id order.
pub(super) async fn lock<'a>(
    connection: &mut PgConnection,
    lines: impl Iterator<Item = &'a RequestedLine>,
) -> Result<Vec<LockedProduct>, Error> {
    let ids: Vec<Uuid> = plan::products_of(lines).iter().map(|id| id.0).collect();
    let rows: Vec<LockedRow> = sqlx::query_as(LOCK).bind(ids).fetch_all(connection).await?;
    rows.into_iter().map(LockedProduct::try_from).collect()
}

/// Products as they were, without a lock.
pub(super) struct Seen {
    pub(super) products: Vec<LockedProduct>,
    /// By the clock of the database.
    at: DateTime<Utc>,
}

#[derive(FromRow)]
struct SeenRow {
    #[sqlx(flatten)]
    product: LockedRow,
    seen_at: DateTime<Utc>,
}

/// The products that `lines` name, as they are.
pub(super) async fn see<'a>(
    connection: &mut PgConnection,
    lines: impl Iterator<Item = &'a RequestedLine>,
) -> Result<Seen, Error> {
    let ids: Vec<Uuid> = plan::products_of(lines).iter().map(|id| id.0).collect();
    let rows: Vec<SeenRow> = sqlx::query_as(SEE).bind(ids).fetch_all(connection).await?;
    let at = rows.first().map(|row| row.seen_at).unwrap_or_default();
    let products = rows.into_iter().map(|row| row.product.try_into());
    Ok(Seen {
        products: products.collect::<Result<_, _>>()?,
        at,
    })
}

/// Stores sold orders and their keys, and takes their stock, in one statement; gives the changed products.
pub(super) async fn write_sold(
    connection: &mut PgConnection,
    sold: Columns,
    taken: Taken,
    at: DateTime<Utc>,
) -> Result<Vec<Product>, Error> {
    let (ids, pieces) = by_id(taken);
    let statement = insert_orders!(
        take_stock!("true"),
        "true",
        product_columns!(""),
        " FROM taken"
    );
    let rows: Vec<ProductRow> =
        sqlx::query_as_with(statement, sold.into_arguments(OrderStatus::Success)?)
            .bind(ids)
            .bind(pieces)
            .bind(at)
            .fetch_all(connection)
            .await?;
    rows.into_iter().map(Product::try_from).collect()
}

/// Does the same and locks the products itself, and commits, if each of them has as much as is
/// taken and still costs what it did when it was `seen`, no longer ago than [`SEEN_FOR`]; if not,
/// nothing is written, and no product given.
///
/// Their rows are locked in id order before anything is written, since each step asks whether
/// all is well, which is known once all are locked. `taken` then changes the rows as they were
/// locked, also where they are newer than what the statement began with.
pub(super) async fn sell_as_seen(
    connection: &mut PgConnection,
    sold: Columns,
    taken: Taken,
    seen: &Seen,
    at: DateTime<Utc>,
) -> Result<Vec<Product>, Error> {
    const STATEMENT: &str = insert_orders!(
        concat!(
            "locked AS MATERIALIZED (
                 SELECT id, price, stock, archived_at FROM products
                 WHERE id = ANY($17) ORDER BY id FOR NO KEY UPDATE),
             checked AS MATERIALIZED (
                 SELECT count(*) FILTER (
                            WHERE archived_at IS NULL AND price = ($20::jsonb -> id::text)::bigint
                              AND stock >= ($18::jsonb -> id::text)::bigint)
                        = cardinality($17) AND clock_timestamp() < $21 AS is_well
                 FROM locked), ",
            take_stock!("(SELECT is_well FROM checked)")
        ),
        "(SELECT is_well FROM checked)",
        product_columns!(""),
        " FROM taken"
    );
    let prices: HashMap<Uuid, i64> = seen
        .products
        .iter()
        .map(|product| (product.id.0, product.price.minor_units()))
        .collect();
    let (ids, pieces) = by_id(taken);
    let rows: Vec<ProductRow> =
        sqlx::query_as_with(STATEMENT, sold.into_arguments(OrderStatus::Success)?)
            .bind(ids)
            .bind(pieces)
            .bind(at)
            .bind(Json(prices))
            .bind(seen.at + SEEN_FOR)
            .fetch_all(connection)
            .await
            .map_err(on_commit)?;
    rows.into_iter().map(Product::try_from).collect()
}

/// The step that takes stock, if `$if`.
macro_rules! take_stock {
    ($if:literal) => {
        concat!(
            "taken AS (
                 UPDATE products
                 SET stock = stock - ($18::jsonb -> id::text)::bigint,
                     version = version + 1, updated_at = $19
                 WHERE id = ANY($17) AND ",
            $if,
            " RETURNING *), "
        )
    };
}
use take_stock;

/// Stores decisions and takes the stock of those that succeeded, in one statement.
///
/// An order that is not pending any more would mean that it is decided a second time: the
/// count of rows catches it, and the transaction is given up. Gives the changed products.
pub(super) async fn write_decisions(
    connection: &mut PgConnection,
    decisions: &[(OrderId, Decision)],
    taken: Taken,
    at: DateTime<Utc>,
) -> Result<Vec<Product>, Error> {
    let (mut sold, mut failed, mut failures) = (Vec::new(), Vec::new(), HashMap::new());
    for (id, decision) in decisions {
        match decision {
            Ok(()) => sold.push(id.0),
            Err(failure) => {
                failed.push(id.0);
                let Failure {
                    code,
                    product_id,
                    requested,
                    available,
                } = *failure;
                failures.insert(id.0, (code.as_str(), product_id, requested, available));
            }
        }
    }
    let (taken_ids, pieces) = by_id(taken);
    let rows: Vec<WrittenRow> = sqlx::query_as(WRITE_DECISIONS)
        .bind(at)
        .bind(taken_ids)
        .bind(pieces)
        .bind(sold)
        .bind(failed)
        .bind(Json(failures))
        .fetch_all(connection)
        .await?;
    let written = rows.first().map_or(0, |row| row.written.unsigned_abs());
    plan::expect_all_written(decisions.len(), written)?;
    rows.into_iter()
        .filter_map(|row| row.product)
        .map(Product::try_from)
        .collect()
}

/// The count of decisions written, with one of the changed products, if there are any.
struct WrittenRow {
    written: i64,
    product: Option<ProductRow>,
}

impl FromRow<'_, PgRow> for WrittenRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let id: Option<Uuid> = row.try_get("id")?;
        Ok(Self {
            written: row.try_get("written")?,
            product: id.map(|_| ProductRow::from_row(row)).transpose()?,
        })
    }
}

/// The ids, and the pieces by id as a JSON object.
fn by_id(taken: Taken) -> (Vec<Uuid>, Json<HashMap<Uuid, i64>>) {
    let pieces: HashMap<Uuid, i64> = taken.into_iter().map(|(id, n)| (id.0, n)).collect();
    (pieces.keys().copied().collect(), Json(pieces))
}
