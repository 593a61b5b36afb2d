//! Lock, decide, write: how orders get their turn under locked product rows.
//!
//! The batch strategy gives a turn to many orders in one transaction, the row lock strategy
//! to one. What differs is the size of the batch, and nothing else.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    PostgresStore,
    accept::{Columns, insert_orders, stored},
    conditional,
};
use crate::{
    decide::Decision,
    domain::{NewOrder, Order, OrderId, ProductId, RequestedLine},
    error::Error,
    store::{
        Pick,
        error::on_commit,
        plan::{self, LockedProduct, PendingOrder},
        retry::Retry,
        rows::{self, LockedRow, PendingRow},
        strategy::Turns,
    },
};

/// What a batch takes: pieces of each product.
pub(super) type Taken = Vec<(ProductId, i64)>;

#[async_trait]
impl Turns for PostgresStore {
    async fn purchase_locked(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        let mut tx = self.pool.begin().await?;
        let products = lock(&mut tx, orders.iter().flat_map(|order| &order.lines)).await?;
        // An attempt in doubt held these rows until it ended: what it stored shows by now.
        let stored = if retry.resolving() {
            stored(&mut tx, orders).await?
        } else {
            HashMap::new()
        };
        let fresh: Vec<&NewOrder> = orders
            .iter()
            .filter(|order| !stored.contains_key(&order.id))
            .collect();
        let mut shelves = plan::shelves(&products);
        let results = plan::sell(&fresh, &plan::prices(&products), &mut shelves);
        let columns = Columns::of(results.iter().flatten());
        if !columns.is_empty() {
            let taken = shelves.taken().collect();
            write_sold(&mut tx, columns, taken, plan::latest(&fresh)).await?;
            tx.commit().await.map_err(on_commit)?;
        }
        Ok(plan::merge(orders, stored, results))
    }

    async fn purchase_conditional(
        &self,
        order: &NewOrder,
        retry: &Retry,
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        if !retry.resolving()
            && let Some(sold) = conditional::purchase(self, order).await?
        {
            return Ok(vec![Ok(sold)]);
        }
        self.purchase_locked(std::slice::from_ref(order), retry)
            .await
    }

    async fn decide_locked(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
    ) -> Result<Vec<(OrderId, Decision)>, Error> {
        let mut tx = self.pool.begin().await?;
        let pending = claim(&mut tx, pick).await?;
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        let decisions = decide_claimed(&mut tx, &pending, at).await?;
        tx.commit().await.map_err(on_commit)?;
        Ok(decisions)
    }

    async fn decide_conditional(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
    ) -> Result<Vec<(OrderId, Decision)>, Error> {
        conditional::decide(self, pick, at).await
    }
}

/// Decides claimed orders under the locks of their products, and writes the decisions.
pub(super) async fn decide_claimed(
    connection: &mut PgConnection,
    pending: &[PendingOrder],
    at: DateTime<Utc>,
) -> Result<Vec<(OrderId, Decision)>, Error> {
    let products = lock(connection, pending.iter().flat_map(|order| &order.lines)).await?;
    let mut shelves = plan::shelves(&products);
    let decisions: Vec<_> = pending
        .iter()
        .map(|order| (order.id, shelves.decide(&order.lines)))
        .collect();
    write_decisions(connection, &decisions, shelves.taken().collect(), at).await?;
    Ok(decisions)
}

/// Locks pending orders, oldest first, and reads their lines.
///
/// Nothing is held yet, so that waiting for an order row (only [`Pick::These`] does) keeps
/// nobody from a product.
pub(super) async fn claim(
    connection: &mut PgConnection,
    pick: Pick<'_>,
) -> Result<Vec<PendingOrder>, Error> {
    // `OFFSET 0` keeps the lookups of lines a nested loop, whatever the statistics say.
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
    let rows: Vec<PendingRow> = match pick {
        Pick::Oldest(limit) => {
            sqlx::query_as(with_lines_of!(
                "SELECT id FROM orders WHERE status = 'pending'
                 ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED"
            ))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?
        }
        Pick::These(ids) => {
            let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
            sqlx::query_as(with_lines_of!(
                "SELECT id FROM orders WHERE id = ANY($1) AND status = 'pending'
                 ORDER BY id FOR NO KEY UPDATE"
            ))
            .bind(ids)
            .fetch_all(connection)
            .await?
        }
    };
    rows::gather(rows)
}

/// Locks the products that `lines` name, in id order. The lock is taken above the sort, so
/// that rows are locked in the order they come in.
pub(super) async fn lock<'a>(
    connection: &mut PgConnection,
    lines: impl Iterator<Item = &'a RequestedLine>,
) -> Result<Vec<LockedProduct>, Error> {
    let ids: Vec<Uuid> = plan::products_of(lines).iter().map(|id| id.0).collect();
    let rows: Vec<LockedRow> = sqlx::query_as(
        "SELECT id, price, stock, archived_at IS NOT NULL AS archived
         FROM products WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(LockedProduct::try_from).collect()
}

/// Stores sold orders and takes their stock, in one statement.
pub(super) async fn write_sold(
    connection: &mut PgConnection,
    sold: Columns,
    taken: Taken,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let (ids, pieces) = unzip(taken);
    let query = sqlx::query(insert_orders!(
        "taken AS (
             UPDATE products p
             SET stock = p.stock - t.pieces, version = p.version + 1, updated_at = $13
             FROM unnest($11::uuid[], $12::bigint[]) AS t (id, pieces)
             WHERE p.id = t.id), "
    ))
    .bind("success");
    sold.bind_to(query)
        .bind(ids)
        .bind(pieces)
        .bind(at)
        .execute(connection)
        .await?;
    Ok(())
}

/// Stores decisions and takes the stock of those that succeeded, in one statement.
///
/// An order that is not pending any more would mean that it is decided a second time: the
/// count of rows catches it, and the transaction is given up.
pub(super) async fn write_decisions(
    connection: &mut PgConnection,
    decisions: &[(OrderId, Decision)],
    taken: Taken,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let failures = || decisions.iter().map(|(_, decision)| decision.err());
    let order_ids: Vec<Uuid> = decisions.iter().map(|(id, _)| id.0).collect();
    let codes: Vec<_> = failures().map(|f| f.map(|f| f.code.as_str())).collect();
    let failed_products: Vec<_> = failures().map(|f| f.map(|f| f.product_id.0)).collect();
    let requested: Vec<_> = failures().map(|f| f.map(|f| f.requested)).collect();
    let available: Vec<_> = failures().map(|f| f.map(|f| f.available)).collect();
    let (taken_ids, pieces) = unzip(taken);
    let written: i64 = sqlx::query_scalar(
        "WITH taken AS (
             UPDATE products p
             SET stock = p.stock - t.pieces, version = p.version + 1, updated_at = $1
             FROM unnest($2::uuid[], $3::bigint[]) AS t (id, pieces)
             WHERE p.id = t.id),
         decided AS (
             UPDATE orders o
             SET status = CASE WHEN d.code IS NULL THEN 'success' ELSE 'failed' END::order_status,
                 failure_code = d.code, failure_product_id = d.product_id,
                 failure_requested = d.requested, failure_available = d.available,
                 decided_at = $1
             FROM unnest($4::uuid[], $5::text[], $6::uuid[], $7::bigint[], $8::bigint[])
                  AS d (id, code, product_id, requested, available)
             WHERE o.id = d.id AND o.status = 'pending'
             RETURNING 1)
         SELECT count(*) FROM decided",
    )
    .bind(at)
    .bind(taken_ids)
    .bind(pieces)
    .bind(order_ids)
    .bind(codes)
    .bind(failed_products)
    .bind(requested)
    .bind(available)
    .fetch_one(connection)
    .await?;
    plan::expect_all_written(decisions.len(), written.unsigned_abs())
}

fn unzip(taken: Taken) -> (Vec<Uuid>, Vec<i64>) {
    taken.into_iter().map(|(id, pieces)| (id.0, pieces)).unzip()
}
