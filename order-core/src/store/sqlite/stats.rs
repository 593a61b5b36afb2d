//! What operators ask.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{FromRow, Row, sqlite::SqliteRow};
use uuid::Uuid;

use super::SqliteStore;
use crate::{
    clock::{Clock, SystemClock},
    domain::{OrderId, Product},
    error::Error,
    stats::{HotProduct, OrderCounters, StatsStore, Wait, Waiting},
    store::{
        retry::with_retry,
        rows::{self, Micros, product_columns},
        stats_rows::{self, HOT_LINES, TallyRow, ages, later, span, sums, window_secs},
    },
};

/// One row for each second of the window, and one for all that was before.
const TALLIES: &str = concat!(
    "SELECT clock.now, CASE WHEN at >= clock.now - ?1 THEN at END AS second, ",
    sums!(),
    " FROM (SELECT unixepoch() AS now) AS clock LEFT JOIN order_tallies ON true GROUP BY 1, 2"
);

const IS_CROWDED: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM order_tallies WHERE at < ?1 AND at <> ",
    span!("?1", "?2", "?3"),
    ")"
);

/// Adds each row that is not the first of its span to the one that is.
const ADD: &str = concat!(
    "INSERT INTO order_tallies SELECT ",
    span!("?1", "?2", "?3"),
    " AS span, ",
    sums!(),
    " FROM order_tallies WHERE at < ?1 AND at <> ",
    span!("?1", "?2", "?3"),
    " GROUP BY span
     ON CONFLICT (at) DO UPDATE
     SET accepted = accepted + excluded.accepted, sold = sold + excluded.sold,
         failed = failed + excluded.failed, completed = completed + excluded.completed,
         cancelled = cancelled + excluded.cancelled, returned = returned + excluded.returned,
         max_wait_us = max(max_wait_us, excluded.max_wait_us), waited = waited + excluded.waited,
         waited_us = waited_us + excluded.waited_us"
);

const REMOVE: &str = concat!(
    "DELETE FROM order_tallies WHERE at < ?1 AND at <> ",
    span!("?1", "?2", "?3")
);

const HOT_PRODUCTS: &str = concat!(
    "WITH lines AS MATERIALIZED (
         SELECT line.product_id, line.quantity
         FROM (SELECT id FROM orders ORDER BY id DESC LIMIT ?1) newest
         CROSS JOIN order_lines line ON line.order_id = newest.id LIMIT ?2),
     wanted AS MATERIALIZED (
         SELECT product_id, sum(quantity) AS pieces FROM lines GROUP BY product_id)
     SELECT wanted.pieces, ",
    product_columns!("product."),
    " FROM wanted CROSS JOIN products product ON product.id = wanted.product_id
     WHERE product.archived_at IS NULL ORDER BY wanted.pieces DESC, product.id LIMIT ?3"
);

#[async_trait]
impl StatsStore for SqliteStore {
    async fn counters(&self, window: Duration) -> Result<OrderCounters, Error> {
        let rows: Vec<TallyRow> = sqlx::query_as(TALLIES)
            .bind(window_secs(window))
            .fetch_all(&mut *self.readers.acquire().await?)
            .await?;
        stats_rows::counters(&rows)
    }

    async fn compact_counters(&self, ahead: Duration) -> Result<u64, Error> {
        with_retry!(_retry => self.fold_tallies_once(ahead))
    }

    async fn oldest_pending(&self) -> Result<Option<Waiting>, Error> {
        let row: Option<(Uuid, i64)> = sqlx::query_as(
            "SELECT id, ?1 - coalesce(stored_at, created_at) FROM orders
             WHERE status = 'pending' ORDER BY id LIMIT 1",
        )
        .bind(Micros::now())
        .fetch_optional(&mut *self.readers.acquire().await?)
        .await?;
        Ok(row.map(stats_rows::waiting))
    }

    async fn waits(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error> {
        let rows: Vec<(Micros, Micros)> = sqlx::query_as(
            "SELECT created_at, decided_at
             FROM (SELECT created_at, decided_at FROM orders WHERE id < ?1
                   ORDER BY id DESC LIMIT ?2)
             WHERE decided_at <> created_at",
        )
        .bind(before.0)
        .bind(orders)
        .fetch_all(&mut *self.readers.acquire().await?)
        .await?;
        stats_rows::waits(rows)
    }

    async fn hot_products(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error> {
        let rows = sqlx::query(HOT_PRODUCTS)
            .bind(orders)
            .bind(HOT_LINES)
            .bind(limit)
            .fetch_all(&mut *self.readers.acquire().await?)
            .await?;
        rows.iter().map(hot_product).collect()
    }
}

impl SqliteStore {
    /// Takes the write lock only when there is something to do.
    async fn fold_tallies_once(&self, ahead: Duration) -> Result<u64, Error> {
        let [detailed, minutes, hours] = ages(later(SystemClock.now(), ahead));
        let is_crowded: bool = sqlx::query_scalar(IS_CROWDED)
            .bind(detailed)
            .bind(minutes)
            .bind(hours)
            .fetch_one(&mut *self.readers.acquire().await?)
            .await?;
        if !is_crowded {
            return Ok(0);
        }
        let mut tx = self.writer.begin_in_background().await?;
        let mut removed = 0;
        for statement in [ADD, REMOVE] {
            removed = sqlx::query(statement)
                .bind(detailed)
                .bind(minutes)
                .bind(hours)
                .execute(&mut *tx)
                .await?
                .rows_affected();
        }
        tx.commit().await?;
        Ok(removed)
    }
}

fn hot_product(row: &SqliteRow) -> Result<HotProduct, Error> {
    let pieces: i64 = row.try_get("pieces")?;
    let product = rows::ProductRow::<Micros>::from_row(row)?;
    Ok(HotProduct {
        product: Product::try_from(product)?,
        wanted: pieces.unsigned_abs(),
    })
}
