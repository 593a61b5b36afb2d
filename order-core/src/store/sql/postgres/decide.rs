//! Deciding orders: the statements that claim them, and that write decisions.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{
    decision::{Decided, Granted},
    domain::ProductId,
    error::Error,
    store::sql::rows::{ProductRow, product_columns, stored_detail},
};

/// The lines of the orders that `$claimed` locks, in their order. `OFFSET 0` keeps the
/// lookups of lines a nested loop, whatever the statistics say.
macro_rules! with_lines_of {
    ($claimed:literal) => {
        concat!(
            "WITH claimed AS MATERIALIZED (",
            $claimed,
            ")
             SELECT claimed.id, line.product_id, line.quantity, claimed.hold_seconds,
                    claimed.customer
             FROM claimed, LATERAL (SELECT line_no, product_id, quantity FROM order_lines
                                    WHERE order_id = claimed.id OFFSET 0) line
             ORDER BY claimed.id, line.line_no"
        )
    };
}

/// The order of the rows is one that only the index of pending orders has: no plan can look
/// for them along the primary key, past all that was ever decided.
pub(crate) const CLAIM_OLDEST: &str = with_lines_of!(
    "SELECT id, hold_seconds, customer FROM orders
     WHERE status <= 'pending' AND (status, id) > ('pending', $1)
     ORDER BY status, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
);

pub(super) const CLAIM_WAITING: &str = with_lines_of!(
    "SELECT id, hold_seconds, customer FROM orders WHERE id = ANY($1) AND status::text = 'pending'
     ORDER BY id FOR NO KEY UPDATE"
);

pub(super) const CLAIM_SKIPPING: &str = with_lines_of!(
    "SELECT id, hold_seconds, customer FROM orders WHERE id = ANY($1) AND status::text = 'pending'
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
);

/// Pending orders, and which of them have a line of one of the products `$3`.
pub(super) const SCAN: &str = "SELECT id, EXISTS (SELECT FROM order_lines
                        WHERE order_id = near.id AND product_id = ANY($3) OFFSET 0)
     FROM (SELECT id FROM orders WHERE status <= 'pending' AND (status, id) > ('pending', $1)
           ORDER BY status, id LIMIT $2) near";

pub(super) const STILL_PENDING: &str =
    "SELECT id FROM orders WHERE id = ANY($1) AND status::text = 'pending'";

/// Writes decisions, takes stock, gives who is sold a task, so that there is no second write to
/// be lost, and counts. Left of the join is one row, the count; so that it is there with no
/// product, too. That all of `$4` were sold is what the count is checked for.
pub(crate) const WRITE_DECISIONS: &str = concat!(
    "WITH taken AS (
         UPDATE products
         SET stock = stock - ($3::jsonb -> id::text)::bigint,
             version = version + 1, updated_at = $1, lapses_at = least(lapses_at, $8)
         WHERE id = ANY($2) RETURNING *),
     sold AS (
         UPDATE orders SET status = 'success', decided_at = $1
         WHERE id = ANY($4) AND status::text = 'pending' RETURNING created_at),
     held AS (
         UPDATE orders
         SET status = 'held', decided_at = $1, held_at = $9,
             held_until = $9 + hold_seconds * interval '1 second'
         WHERE id = ANY($7) AND status::text = 'pending' RETURNING id, created_at, held_until),
     holds AS (
         INSERT INTO holds (order_id, product_id, held_until)
         SELECT held.id, line.product_id, held.held_until
         FROM held, LATERAL (SELECT DISTINCT product_id FROM order_lines
                             WHERE order_id = held.id OFFSET 0) line),
     failed AS (
         UPDATE orders
         SET status = 'failed', decided_at = $1,
             failure_code = $6::jsonb -> id::text ->> 0,
             failure_product_id = ($6::jsonb -> id::text ->> 1)::uuid,
             failure_requested = ($6::jsonb -> id::text -> 2)::bigint,
             failure_available = ($6::jsonb -> id::text -> 3)::bigint,
             failure_detail = $6::jsonb -> id::text ->> 4
         WHERE id = ANY($5) AND status::text = 'pending' RETURNING created_at),
     tasks AS (
         INSERT INTO task_batches (sold_at, order_ids)
         SELECT $1, $4 WHERE cardinality($4) > 0),
     counted AS MATERIALIZED (
         SELECT count(*) AS decided, (SELECT count(*) FROM sold) AS sold,
                (SELECT count(*) FROM held) AS held,
                count(*) FILTER (WHERE wait_us > 0) AS waited,
                coalesce(sum(wait_us) FILTER (WHERE wait_us > 0), 0) AS waited_us,
                greatest(max(wait_us), 0) AS max_wait_us
         FROM (SELECT date_part('epoch', $1 - created_at) * 1000000 AS wait_us
               FROM (SELECT created_at FROM sold UNION ALL SELECT created_at FROM held
                     UNION ALL SELECT created_at FROM failed) AS ended)
              AS ended),
     counters AS (
         INSERT INTO order_counters (sold, held, failed, waited, waited_us, max_wait_us)
         SELECT sold, held, decided - sold - held, waited, waited_us, max_wait_us FROM counted)
     SELECT counted.decided AS written, ",
    product_columns!("taken."),
    " FROM counted LEFT JOIN taken ON true"
);

/// The count of decisions written, with one of the changed products, if there are any.
pub(super) struct WrittenRow {
    pub(super) written: i64,
    pub(super) product: Option<ProductRow>,
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

/// The failure code, the product, the pieces that were requested and available, and the detail.
pub(super) type FailureColumns = (&'static str, ProductId, i64, i64, Option<String>);

/// The orders of a batch, by what was decided.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) sold: Vec<Uuid>,
    pub(super) held: Vec<Uuid>,
    /// The time at which the first hold of them ends.
    pub(super) lapses_at: Option<DateTime<Utc>>,
    pub(super) failed: Vec<Uuid>,
    pub(super) failures: Json<HashMap<Uuid, FailureColumns>>,
}

/// The orders that are sold, those that are held, those that failed, and why.
pub(super) fn outcomes(decisions: &[Decided]) -> Result<Outcomes, Error> {
    let mut outcomes = Outcomes::default();
    for (id, decision) in decisions {
        match decision {
            Ok(Granted::Sold) => outcomes.sold.push(id.0),
            Ok(Granted::Held { until }) => {
                outcomes.held.push(id.0);
                let first = outcomes.lapses_at.unwrap_or(*until);
                outcomes.lapses_at = Some(first.min(*until));
            }
            Err(failure) => {
                outcomes.failed.push(id.0);
                let columns = (
                    failure.code.as_str(),
                    failure.product_id,
                    failure.requested,
                    failure.available,
                    stored_detail(failure)?,
                );
                outcomes.failures.insert(id.0, columns);
            }
        }
    }
    Ok(outcomes)
}
