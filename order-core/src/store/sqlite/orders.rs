//! Orders: the trait's methods, reading, and cancelling.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    SqliteStore,
    idempotency::{is_replay, keep},
    json_ids,
    read::{OrderRow, load, with_lines},
    steps,
    tasks::cancel_task,
};
use crate::{
    domain::{
        Fingerprint, IdempotencyKey, MAX_OFFSET_ROWS, NewOrder, Order, OrderId, OrderStatus, Page,
        PageStart, ProductId, Progress,
    },
    error::Error,
    queue::COUNT_LIMIT,
    store::{
        Backlog, Cancelled, Decided, OrderQuery, OrderStore, Outcome, Pick, Purchase, Strategy,
        idempotency::Kept,
        plan,
        progress_rows::{ProgressRow, select_progress},
        retry::{Retry, with_retry},
        rows::{Micros, order_columns},
        strategy,
    },
};

#[async_trait]
impl OrderStore for SqliteStore {
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        with_retry!(retry => self.accept_once(orders, &retry))
    }

    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error> {
        strategy::purchase(self, orders, strategy).await
    }

    async fn decide(
        &self,
        pick: Pick<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        strategy::decide(self, pick, strategy, at).await
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let mut connection = self.readers.acquire().await?;
        Ok(load(&mut connection, vec![id.0]).await?.pop())
    }

    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        let rows: Vec<ProgressRow<Micros>> = sqlx::query_as(select_progress!(
            "WHERE id IN (SELECT unhex(value) FROM json_each(?1))"
        ))
        .bind(json_ids(ids.iter().map(|id| id.0)))
        .fetch_all(&mut *self.readers.acquire().await?)
        .await?;
        rows.into_iter().map(Progress::try_from).collect()
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        let mut connection = self.readers.acquire().await?;
        let (after, offset) = query.page.bounds();
        let mut sql = QueryBuilder::new(concat!("SELECT ", order_columns!()));
        let id = matching(&mut sql, query, after);
        sql.push(format!(" ORDER BY {id} DESC LIMIT "))
            .push_bind(query.page.limit())
            .push(" OFFSET ")
            .push_bind(offset);
        let rows: Vec<OrderRow> = sql.build_query_as().fetch_all(&mut *connection).await?;
        let total = match query.page.start {
            PageStart::Offset(_) => Some(count(&mut connection, query).await?),
            _ => None,
        };
        let orders = with_lines(&mut connection, rows).await?;
        Ok(Page::from_rows(
            orders,
            query.page.size,
            |o: &Order| o.id,
            total,
        ))
    }

    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error> {
        with_retry!(retry => self.cancel_once(id, at, key, &retry))
    }

    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            // Of the oldest, not of all: when none of them is old enough, none is.
            "SELECT id FROM (SELECT id, coalesce(stored_at, created_at) AS since FROM orders
                             WHERE status = 'pending' AND id > ?2 ORDER BY id LIMIT ?3)
             WHERE since <= ?1 ORDER BY id",
        )
        .bind(Micros::now().before(age))
        .bind(after.map_or(Uuid::nil(), |after| after.0))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.readers.acquire().await?)
        .await?;
        Ok(ids.into_iter().map(OrderId).collect())
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let (orders, oldest): (i64, Option<Micros>) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM orders WHERE status = 'pending' LIMIT ?1)),
                    (SELECT coalesce(stored_at, created_at) FROM orders WHERE status = 'pending'
                     ORDER BY id LIMIT 1)",
        )
        .bind(i64::from(COUNT_LIMIT))
        .fetch_one(&mut *self.readers.acquire().await?)
        .await?;
        Ok(Backlog {
            orders: orders.unsigned_abs(),
            oldest_age: oldest.map(|oldest| Micros::now().since(oldest)),
        })
    }
}

impl SqliteStore {
    async fn cancel_once(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
        retry: &Retry,
    ) -> Result<Option<Cancelled>, Error> {
        let mut tx = self.writer.begin().await?;
        let Some(order) = load(&mut tx, vec![id.0]).await?.pop() else {
            return Ok(None);
        };
        if let Some(key) = key
            && is_replay(&mut tx, key, Fingerprint::of_cancel(id)).await?
        {
            return Ok(Some(Cancelled::before(order, !retry.resolving())));
        }
        if order.status == OrderStatus::Cancelled {
            return Ok(Some(Cancelled::before(order, false)));
        }
        let changed = if order.gives_back_when_cancelled() {
            let lines = order.requested_lines();
            let products = steps::read(&mut tx, lines.iter()).await?;
            let back = plan::restock(&products, &lines)?;
            // Taking less than nothing gives back.
            let changed =
                steps::take(&mut tx, back.into_iter().map(|(id, n)| (id, -n)), at).await?;
            plan::living(&products, changed)
        } else {
            Vec::new()
        };
        let was_sold = order.gives_back_when_cancelled();
        let order = order.cancelled(at)?;
        sqlx::query("UPDATE orders SET status = 'cancelled', cancelled_at = ?2 WHERE id = ?1")
            .bind(id.0)
            .bind(Micros::from(at))
            .execute(&mut *tx)
            .await?;
        if was_sold {
            cancel_task(&mut tx, id).await?;
        }
        keep(&mut tx, &key.map(|key| Kept::of_cancel(key, id, at))).await?;
        tx.commit().await?;
        Ok(Some(Cancelled {
            order,
            changed,
            replayed: false,
        }))
    }
}

async fn count(connection: &mut SqliteConnection, query: &OrderQuery) -> Result<u64, Error> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1");
    matching(&mut sql, query, None);
    sql.push(" LIMIT ")
        .push_bind(i64::from(MAX_OFFSET_ROWS))
        .push(")");
    let count: i64 = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(count.unsigned_abs())
}

/// The orders that match and are older than `after`; gives the name of the id to sort by.
///
/// Lines of a product are in the order of their orders; `CROSS JOIN` keeps the planner to the
/// way along them, and `GROUP BY`, which costs nothing on it, makes one of each order's.
fn matching(
    sql: &mut QueryBuilder<Sqlite>,
    query: &OrderQuery,
    after: Option<OrderId>,
) -> &'static str {
    let after = after.map_or(Uuid::max(), |id| id.0);
    if let Some(ProductId(product)) = query.along_product() {
        sql.push(" FROM order_lines CROSS JOIN orders ON id = order_id WHERE product_id = ")
            .push_bind(product)
            .push(" AND order_id < ")
            .push_bind(after);
        filter(sql, query);
        sql.push(" GROUP BY order_id");
        return "order_id";
    }
    sql.push(" FROM orders WHERE id < ").push_bind(after);
    if let Some(ProductId(product)) = query.product_id {
        sql.push(" AND EXISTS (SELECT 1 FROM order_lines WHERE product_id = ")
            .push_bind(product)
            .push(" AND order_id = orders.id)");
    }
    filter(sql, query);
    "id"
}

fn filter(sql: &mut QueryBuilder<Sqlite>, query: &OrderQuery) {
    if let Some(status) = query.status {
        // A literal, so that the planner can see which partial index covers it.
        sql.push(format!(" AND status = '{status}'"));
    }
    if let Some(reference) = &query.reference {
        sql.push(" AND reference = ").push_bind(reference.clone());
    }
}
