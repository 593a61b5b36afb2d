//! Figures for operators.

use std::time::Duration;

use async_trait::async_trait;

use super::store::SqliteStore;
use crate::{
    clock::{Clock, SystemClock},
    error::Error,
    store::sql::{
        backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
        rows::product_columns,
        statements::StatsStatements,
        stats::{StatsSteps, ages, later, span, sums},
        value::Value,
    },
};

pub(super) const STATEMENTS: StatsStatements = StatsStatements {
    counters: COUNTERS,
    oldest_pending: "SELECT id, $2 - coalesce(stored_at, created_at) FROM orders
         WHERE status = 'pending' AND id > $1 ORDER BY id LIMIT 1",
    hot_products: HOT_PRODUCTS,
};

/// One row for each step of the window, and one for all that was before.
const COUNTERS: &str = concat!(
    "SELECT clock.now, CASE WHEN at >= clock.now - $1 THEN at - at % $2 END AS second, ",
    sums!(),
    " FROM (SELECT unixepoch() AS now) AS clock LEFT JOIN order_counters ON true GROUP BY 1, 2"
);

/// A column that a newer program added would be lost in the sums: then nothing is to be done.
const IS_CROWDED: &str = concat!(
    "SELECT (SELECT count(*) = 14 FROM pragma_table_info('order_counters'))
        AND EXISTS (SELECT 1 FROM order_counters WHERE at < $1 AND at <> ",
    span!("$1", "$2", "$3"),
    ")"
);

/// Adds each row that is not the first of its span to the one that is. It names no columns: if one was
/// added a moment ago, it fails.
const ADD: &str = concat!(
    "INSERT INTO order_counters SELECT ",
    span!("$1", "$2", "$3"),
    " AS span, ",
    sums!(),
    " FROM order_counters WHERE at < $1 AND at <> ",
    span!("$1", "$2", "$3"),
    " GROUP BY span
     ON CONFLICT (at) DO UPDATE
     SET accepted = accepted + excluded.accepted, sold = sold + excluded.sold,
         failed = failed + excluded.failed, completed = completed + excluded.completed,
         cancelled = cancelled + excluded.cancelled, returned = returned + excluded.returned,
         max_wait_us = max(max_wait_us, excluded.max_wait_us), waited = waited + excluded.waited,
         waited_us = waited_us + excluded.waited_us, held = held + excluded.held,
         confirmed = confirmed + excluded.confirmed, expired = expired + excluded.expired,
         released = released + excluded.released"
);

const REMOVE: &str = concat!(
    "DELETE FROM order_counters WHERE at < $1 AND at <> ",
    span!("$1", "$2", "$3")
);

const HOT_PRODUCTS: &str = concat!(
    "WITH lines AS MATERIALIZED (
         SELECT line.product_id, line.quantity
         FROM (SELECT id FROM orders ORDER BY id DESC LIMIT $1) newest
         CROSS JOIN order_lines line ON line.order_id = newest.id LIMIT $2),
     wanted AS MATERIALIZED (
         SELECT product_id, sum(quantity) AS pieces FROM lines GROUP BY product_id)
     SELECT wanted.pieces, ",
    product_columns!("product."),
    " FROM wanted CROSS JOIN products product ON product.id = wanted.product_id
     WHERE product.archived_at IS NULL ORDER BY wanted.pieces DESC, product.id LIMIT $3"
);

#[async_trait]
impl StatsSteps for SqliteStore {
    /// Takes the write lock only when there is something to do.
    async fn compact(&self, ahead: Duration) -> Result<u64, Error> {
        let ages = ages(later(SystemClock.now(), ahead)).map(Value::Int);
        let (is_crowded,): (bool,) = self.read().await?.fetch_one(IS_CROWDED, &ages).await?;
        if !is_crowded {
            return Ok(0);
        }
        let mut tx = self.begin(Priority::Background, None).await?;
        tx.execute(ADD, &ages).await?;
        let removed = tx.execute(REMOVE, &ages).await?;
        tx.commit().await?;
        Ok(removed)
    }
}
