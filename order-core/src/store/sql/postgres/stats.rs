//! Figures for operators.

use std::time::Duration;

use async_trait::async_trait;

use super::store::PostgresStore;
use crate::{
    error::Error,
    store::sql::{
        backend::{SqlBackend, SqlConnection},
        rows::{Count, product_columns},
        statements::StatsStatements,
        stats::{StatsSteps, ages, later, span, sums},
        value::{StoredTime, Value},
    },
};

pub(super) const STATEMENTS: StatsStatements = StatsStatements {
    counters: COUNTERS,
    oldest_pending: "SELECT id, CAST(date_part('epoch', clock_timestamp()
                             - coalesce(stored_at, created_at)) * 1000000 AS bigint)
         FROM orders
         WHERE status <= 'pending' AND (status, id) > ('pending', $1) ORDER BY status, id LIMIT 1",
    hot_products: HOT_PRODUCTS,
};

/// One row for each step of the window, and one for all that was before.
const COUNTERS: &str = concat!(
    "SELECT clock.now, CASE WHEN at >= clock.now - $1 THEN at - at % $2 END AS second, ",
    sums!(),
    " FROM (SELECT CAST(floor(date_part('epoch', clock_timestamp())) AS bigint) AS now) AS clock
     LEFT JOIN order_counters ON true GROUP BY 1, 2"
);

/// Replaces the rows of each span that has more than one by their sum. What is deleted and
/// what is inserted show at once; a row that somebody else replaces is gone, and counts for them.
/// Of a column that a newer program added, the sums would know nothing: then nothing is replaced.
const COMPACT: &str = concat!(
    "WITH crowded AS MATERIALIZED (
         SELECT span FROM (SELECT ",
    span!("$2", "$3", "$4"),
    " AS span FROM order_counters WHERE at < $1) spans
         WHERE (SELECT count(*) = 14 FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped
                    AND attrelid = 'order_counters'::regclass)
           AND (SELECT pg_try_advisory_xact_lock('order_counters'::regclass::oid::bigint))
         GROUP BY span HAVING count(*) > 1),
     gone AS (
         DELETE FROM order_counters
         WHERE at < $1 AND (",
    span!("$2", "$3", "$4"),
    ") = ANY(ARRAY(SELECT span FROM crowded))
         RETURNING *, ",
    span!("$2", "$3", "$4"),
    " AS span),
     compacted AS (INSERT INTO order_counters SELECT span, ",
    sums!(),
    " FROM gone GROUP BY span)
     SELECT count(*) FROM gone"
);

/// `OFFSET 0` keeps the lookups a nested loop, whatever the statistics say.
const HOT_PRODUCTS: &str = concat!(
    "WITH newest AS MATERIALIZED (SELECT id FROM orders ORDER BY id DESC LIMIT $1),
     lines AS MATERIALIZED (
         SELECT line.product_id, line.quantity
         FROM newest, LATERAL (SELECT product_id, quantity FROM order_lines
                               WHERE order_id = newest.id OFFSET 0) line LIMIT $2),
     wanted AS MATERIALIZED (
         SELECT product_id, CAST(sum(quantity) AS bigint) AS pieces FROM lines GROUP BY product_id)
     SELECT wanted.pieces, ",
    product_columns!("product."),
    " FROM wanted, LATERAL (SELECT * FROM products
                            WHERE id = wanted.product_id AND archived_at IS NULL OFFSET 0) product
     ORDER BY wanted.pieces DESC, product.id LIMIT $3"
);

#[async_trait]
impl StatsSteps for PostgresStore {
    async fn compact(&self, ahead: Duration) -> Result<u64, Error> {
        let mut connection = self.read().await?;
        let (now,): (StoredTime,) = connection
            .fetch_one("SELECT clock_timestamp()", &[])
            .await?;
        let at = later(now.0, ahead);
        let [detailed, minutes, hours] = ages(at);
        let values = [at.timestamp(), detailed, minutes, hours].map(Value::Int);
        let (replaced,): Count = connection.fetch_one(COMPACT, &values).await?;
        Ok(replaced.unsigned_abs())
    }
}
