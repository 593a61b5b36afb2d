//! What operators ask.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use super::{PostgresStore, orders::pending_for_us};
use crate::{
    domain::{OrderId, Product},
    error::Error,
    stats::{HotProduct, OrderCounters, StatsStore, Wait, Waiting},
    store::{
        retry::with_retry,
        rows::{self, product_columns},
        stats_rows::{self, HOT_LINES, TallyRow, ages, later, span, sums, window_secs},
    },
};

/// One row for each second of the window, and one for all that was before.
const TALLIES: &str = concat!(
    "SELECT clock.now, CASE WHEN at >= clock.now - $1 THEN at END AS second, ",
    sums!(),
    " FROM (SELECT CAST(floor(date_part('epoch', clock_timestamp())) AS bigint) AS now) AS clock
     LEFT JOIN order_tallies ON true GROUP BY 1, 2"
);

/// Replaces the rows of each span that has more than one by their sum. What is deleted and
/// what is inserted show at once; a row that somebody else folds is gone, and counts for them.
const FOLD: &str = concat!(
    "WITH crowded AS MATERIALIZED (
         SELECT span FROM (SELECT ",
    span!("$2", "$3", "$4"),
    " AS span FROM order_tallies WHERE at < $1) spans
         WHERE (SELECT pg_try_advisory_xact_lock('order_tallies'::regclass::oid::bigint))
         GROUP BY span HAVING count(*) > 1),
     gone AS (
         DELETE FROM order_tallies
         WHERE at < $1 AND (",
    span!("$2", "$3", "$4"),
    ") = ANY(ARRAY(SELECT span FROM crowded))
         RETURNING *, ",
    span!("$2", "$3", "$4"),
    " AS span),
     folded AS (INSERT INTO order_tallies SELECT span, ",
    sums!(),
    " FROM gone GROUP BY span)
     SELECT count(*) FROM gone"
);

const OLDEST_PENDING: &str = concat!(
    "SELECT id, ",
    pending_for_us!(),
    " FROM orders
     WHERE status <= 'pending' AND (status, id) > ('pending', $1) ORDER BY status, id LIMIT 1"
);

const WAITS: &str = "SELECT created_at, decided_at
     FROM (SELECT created_at, decided_at FROM orders WHERE id < $1 ORDER BY id DESC LIMIT $2) newest
     WHERE decided_at <> created_at";

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
impl StatsStore for PostgresStore {
    async fn counters(&self, window: Duration) -> Result<OrderCounters, Error> {
        with_retry!(_retry => self.connections.attempt(self.tallies_once(window)))
    }

    async fn compact_counters(&self, ahead: Duration) -> Result<u64, Error> {
        with_retry!(_retry => self.connections.attempt(self.fold_tallies_once(ahead)))
    }

    async fn oldest_pending(&self) -> Result<Option<Waiting>, Error> {
        with_retry!(_retry => self.connections.attempt(self.oldest_pending_once()))
    }

    async fn waits(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error> {
        with_retry!(_retry => self.connections.attempt(self.waits_once(before, orders)))
    }

    async fn hot_products(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error> {
        with_retry!(_retry => self.connections.attempt(self.hot_products_once(orders, limit)))
    }
}

impl PostgresStore {
    async fn tallies_once(&self, window: Duration) -> Result<OrderCounters, Error> {
        let rows: Vec<TallyRow> = sqlx::query_as(TALLIES)
            .bind(window_secs(window))
            .fetch_all(&mut *self.connections.acquire().await?)
            .await?;
        stats_rows::counters(&rows)
    }

    async fn fold_tallies_once(&self, ahead: Duration) -> Result<u64, Error> {
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT clock_timestamp()")
            .fetch_one(&mut *self.connections.acquire().await?)
            .await?;
        let at = later(now, ahead);
        let [detailed, minutes, hours] = ages(at);
        let folded: i64 = sqlx::query_scalar(FOLD)
            .bind(at.timestamp())
            .bind(detailed)
            .bind(minutes)
            .bind(hours)
            .fetch_one(&mut *self.connections.acquire().await?)
            .await?;
        Ok(folded.unsigned_abs())
    }

    /// Begins where claims begin: what lies behind is looked at by them, now and then.
    async fn oldest_pending_once(&self) -> Result<Option<Waiting>, Error> {
        let row: Option<(Uuid, i64)> = sqlx::query_as(OLDEST_PENDING)
            .bind(self.frontier.after())
            .fetch_optional(&mut *self.connections.acquire().await?)
            .await?;
        Ok(row.map(stats_rows::waiting))
    }

    async fn waits_once(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error> {
        let rows: Vec<(DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(WAITS)
            .bind(before.0)
            .bind(i64::from(orders))
            .fetch_all(&mut *self.connections.acquire().await?)
            .await?;
        stats_rows::waits(rows)
    }

    async fn hot_products_once(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error> {
        let rows = sqlx::query(HOT_PRODUCTS)
            .bind(i64::from(orders))
            .bind(HOT_LINES)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connections.acquire().await?)
            .await?;
        rows.iter().map(hot_product).collect()
    }
}

fn hot_product(row: &PgRow) -> Result<HotProduct, Error> {
    let pieces: i64 = row.try_get("pieces")?;
    let product = rows::ProductRow::<DateTime<Utc>>::from_row(row)?;
    Ok(HotProduct {
        product: Product::try_from(product)?,
        wanted: pieces.unsigned_abs(),
    })
}
