//! Orders: the trait's methods, reading, and cancelling.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{
    PostgresStore,
    contended::Waiting,
    idempotency::{is_replay, keep},
    read::{OrderRow, load, with_lines},
    session,
    steps::lock,
    tasks::cancel_task,
};
use crate::{
    domain::{
        Fingerprint, IdempotencyKey, MAX_OFFSET_ROWS, NewOrder, Order, OrderId, OrderStatus, Page,
        PageStart, Product, ProductId, Progress,
    },
    error::Error,
    queue::COUNT_LIMIT,
    store::{
        Backlog, Cancelled, Contention, Decided, OrderQuery, OrderStore, Outcome, Pick, Purchase,
        Strategy,
        error::{on_commit, waits_for_key},
        idempotency::Kept,
        plan,
        progress_rows::{ProgressRow, select_progress},
        retry::{Retry, with_retry},
        rows::{self, age, order_columns, product_columns, select_order, span_micros},
        strategy,
    },
};

type ProductRow = rows::ProductRow<DateTime<Utc>>;

#[async_trait]
impl OrderStore for PostgresStore {
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        let mut retry = Retry::told_of_keys();
        let accepted = with_retry!(
            retry,
            self.connections.attempt(self.accept_once(orders, &retry))
        );
        accepted.map_err(|error| {
            if waits_for_key(&error) {
                Error::Locked
            } else {
                error
            }
        })
    }

    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error> {
        match strategy {
            Strategy::Batch => self.purchase_uncontended(orders).await,
            _ => strategy::purchase(self, orders, strategy).await,
        }
    }

    async fn decide(
        &self,
        pick: Pick<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        match strategy {
            Strategy::Batch => self.decide_uncontended(pick, at).await,
            _ => strategy::decide(self, pick, strategy, at).await,
        }
    }

    fn contention(&self) -> Option<Arc<Contention>> {
        Some(Arc::clone(&self.contention))
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        with_retry!(_retry => self.connections.attempt(self.order_once(id)))
    }

    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        with_retry!(_retry => self.connections.attempt(self.progress_once(ids)))
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        with_retry!(_retry => self.connections.attempt(self.orders_once(query)))
    }

    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error> {
        let mut waiting = Waiting::begin();
        loop {
            if !self.contention.is_empty() {
                let products = self.products_of(id).await?;
                self.lockable(&products, &waiting).await?;
            }
            let mut retry = waiting.attempt();
            let cancelled = with_retry!(
                retry,
                self.connections
                    .attempt(self.cancel_once(id, at, key, &retry))
            );
            match cancelled {
                Err(error) if waiting.goes_on(&error) => {
                    self.examine(&self.products_of(id).await?).await;
                }
                result => return result,
            }
        }
    }

    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error> {
        with_retry!(_retry => self.connections.attempt(self.pending_for_once(age, after, limit)))
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        with_retry!(_retry => self.connections.attempt(self.backlog_once()))
    }
}

/// For how many microseconds an order has been pending.
macro_rules! pending_for_us {
    () => {
        "CAST(date_part('epoch', clock_timestamp() - coalesce(stored_at, created_at)) * 1000000
              AS bigint)"
    };
}
pub(super) use pending_for_us;

const CANCEL: &str = "
    WITH cancelled AS (
        UPDATE orders SET status = 'cancelled', cancelled_at = $2 WHERE id = $1)
    INSERT INTO order_tallies (cancelled, returned) VALUES (1, $3)";

impl PostgresStore {
    async fn order_once(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let mut connection = self.connections.acquire().await?;
        Ok(load(&mut connection, vec![id.0]).await?.pop())
    }

    async fn progress_once(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<ProgressRow<DateTime<Utc>>> =
            sqlx::query_as(select_progress!("WHERE id = ANY($1)"))
                .bind(ids)
                .fetch_all(&mut *self.connections.acquire().await?)
                .await?;
        rows.into_iter().map(Progress::try_from).collect()
    }

    async fn orders_once(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        let mut connection = self.connections.acquire().await?;
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

    async fn pending_for_once(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM orders
             WHERE status = 'pending' AND coalesce(stored_at, created_at)
                   <= (SELECT clock_timestamp() - $1::bigint * interval '1 microsecond')
                   AND id > $2
             ORDER BY id LIMIT $3",
        )
        .bind(span_micros(age))
        .bind(after.map_or(Uuid::nil(), |after| after.0))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.connections.acquire().await?)
        .await?;
        Ok(ids.into_iter().map(OrderId).collect())
    }

    async fn backlog_once(&self) -> Result<Backlog, Error> {
        let (orders, oldest_us): (i64, Option<i64>) = sqlx::query_as(concat!(
            "SELECT (SELECT count(*) FROM (SELECT FROM orders WHERE status <= 'pending' LIMIT $1) o),
                    (SELECT ",
            pending_for_us!(),
            " FROM orders WHERE status <= 'pending' ORDER BY status, id LIMIT 1)"
        ))
        .bind(i64::from(COUNT_LIMIT))
        .fetch_one(&mut *self.connections.acquire().await?)
        .await?;
        Ok(Backlog {
            orders: orders.unsigned_abs(),
            oldest_age: oldest_us.map(age),
        })
    }

    /// The products of an order; none when it is not there.
    async fn products_of(&self, id: OrderId) -> Result<Vec<ProductId>, Error> {
        let order = with_retry!(_retry => self.order_once(id))?;
        let lines = order.map(|order| order.requested_lines());
        Ok(plan::products_of(lines.iter().flatten()))
    }

    /// While it waits for a product it holds the order, and its task, which may lie in one row with
    /// a thousand others: so it waits shortly, and for a product that cannot be locked before it
    /// begins. Made again after a commit in doubt, it finds the order cancelled and answers that.
    async fn cancel_once(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
        retry: &Retry,
    ) -> Result<Option<Cancelled>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin_for(retry).await?;
        let row: Option<OrderRow> =
            sqlx::query_as(select_order!("WHERE id = $1 FOR NO KEY UPDATE"))
                .bind(id.0)
                .fetch_optional(&mut *tx)
                .await?;
        let rows = row.into_iter().collect();
        let Some(order) = with_lines(&mut tx, rows).await?.pop() else {
            return Ok(None);
        };
        if let Some(key) = key
            && is_replay(&mut tx, key, Fingerprint::of_cancel(id)).await?
        {
            session::assure(&mut tx).await?;
            tx.commit().await?;
            return Ok(Some(Cancelled::before(order, !retry.resolving())));
        }
        if order.status == OrderStatus::Cancelled {
            session::assure(&mut tx).await?;
            tx.commit().await?;
            return Ok(Some(Cancelled::before(order, false)));
        }
        let was_sold = order.gives_back_when_cancelled();
        let mut changed = Vec::new();
        if was_sold {
            cancel_task(&mut tx, &order).await?;
            changed = give_back(&mut tx, &order, at).await?;
        }
        let order = order.cancelled(at)?;
        sqlx::query(CANCEL)
            .bind(id.0)
            .bind(at)
            .bind(i64::from(was_sold))
            .execute(&mut *tx)
            .await?;
        if let Some(key) = key {
            keep(&mut tx, Kept::of_cancel(key, id, at)).await?;
        }
        tx.commit().await.map_err(on_commit)?;
        Ok(Some(Cancelled {
            order,
            changed,
            replayed: false,
        }))
    }
}

/// Puts the stock that an order holds back on its products.
async fn give_back(
    connection: &mut PgConnection,
    order: &Order,
    at: DateTime<Utc>,
) -> Result<Vec<Product>, Error> {
    let lines = order.requested_lines();
    let products = lock(connection, lines.iter()).await?;
    let back = plan::restock(&products, &lines)?;
    let (ids, pieces): (Vec<Uuid>, Vec<i64>) = back.into_iter().map(|(id, n)| (id.0, n)).unzip();
    let rows: Vec<ProductRow> = sqlx::query_as(concat!(
        "UPDATE products p
         SET stock = p.stock + back.pieces, version = p.version + 1, updated_at = $3
         FROM unnest($1::uuid[], $2::bigint[]) AS back (id, pieces)
         WHERE p.id = back.id RETURNING ",
        product_columns!("p.")
    ))
    .bind(ids)
    .bind(pieces)
    .bind(at)
    .fetch_all(connection)
    .await?;
    let changed = rows
        .into_iter()
        .map(Product::try_from)
        .collect::<Result<_, _>>()?;
    Ok(plan::living(&products, changed))
}

async fn count(connection: &mut PgConnection, query: &OrderQuery) -> Result<u64, Error> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1");
    matching(&mut sql, query, None);
    sql.push(" LIMIT ")
        .push_bind(i64::from(MAX_OFFSET_ROWS))
        .push(") counted");
    let count: i64 = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(count.unsigned_abs())
}

/// The orders that match and are older than `after`; gives the name of the id to sort by.
///
/// Lines of a product are in the order of their orders; `OFFSET 0` keeps the planner to the
/// way along them.
fn matching(
    sql: &mut QueryBuilder<Postgres>,
    query: &OrderQuery,
    after: Option<OrderId>,
) -> &'static str {
    let after = after.map_or(Uuid::max(), |id| id.0);
    let id = match query.along_product() {
        None => {
            sql.push(" FROM orders WHERE id < ").push_bind(after);
            if let Some(ProductId(product)) = query.product_id {
                sql.push(" AND id IN (SELECT order_id FROM order_lines WHERE product_id = ")
                    .push_bind(product)
                    .push(")");
            }
            "id"
        }
        Some(ProductId(product)) => {
            sql.push(" FROM (SELECT DISTINCT order_id FROM order_lines WHERE product_id = ")
                .push_bind(product)
                .push(" AND order_id < ")
                .push_bind(after)
                .push(
                    " ORDER BY order_id DESC) line CROSS JOIN LATERAL \
                     (SELECT * FROM orders WHERE id = order_id OFFSET 0) orders WHERE true",
                );
            "order_id"
        }
    };
    filter(sql, query);
    id
}

fn filter(sql: &mut QueryBuilder<Postgres>, query: &OrderQuery) {
    if let Some(status) = query.status {
        // A literal, so that the planner can see which partial index covers it.
        sql.push(format!(" AND status = '{status}'"));
    }
    if let Some(reference) = &query.reference {
        sql.push(" AND reference = ").push_bind(reference.clone());
    }
}
