//! The conditional update strategy: one order per transaction, and the database checks the
//! stock as it takes it.

use chrono::{DateTime, Utc};
use sqlx::{Acquire, SqliteConnection};

use super::{
    SqliteStore,
    accept::{insert, prices},
    turn::{claim, decide_claimed, write_decisions},
};
use crate::{
    decide::{Decision, requested_of},
    domain::{NewOrder, Order, OrderId, RequestedLine},
    error::Error,
    store::{Pick, error::on_commit, plan, rows::Micros},
};

/// Sells one order, or leaves no trace: `None`.
pub(super) async fn purchase(
    store: &SqliteStore,
    order: &NewOrder,
) -> Result<Option<Order>, Error> {
    let mut tx = store.begin().await?;
    let prices = prices(&mut tx, &plan::products_of(&order.lines)).await?;
    let Ok(priced) = order.priced(|id| prices.get(&id).copied()) else {
        return Ok(None);
    };
    if !take_if_enough(&mut tx, &order.lines, order.created_at).await? {
        return Ok(None);
    }
    let sold = priced.sold(order.created_at);
    insert(&mut tx, &[&sold]).await?;
    tx.commit().await.map_err(on_commit)?;
    Ok(Some(sold))
}

/// Decides one pending order.
pub(super) async fn decide(
    store: &SqliteStore,
    pick: Pick<'_>,
    at: DateTime<Utc>,
) -> Result<Vec<(OrderId, Decision)>, Error> {
    let mut tx = store.begin().await?;
    let pending = claim(&mut tx, pick).await?;
    let [order] = pending.as_slice() else {
        return Ok(Vec::new());
    };
    let mut attempt = tx.begin().await?;
    let decisions = if take_if_enough(&mut attempt, &order.lines, at).await? {
        attempt.commit().await?;
        let decisions = vec![(order.id, Ok(()))];
        write_decisions(&mut tx, &decisions, at).await?;
        decisions
    } else {
        attempt.rollback().await?;
        decide_claimed(&mut tx, &pending, at).await?
    };
    tx.commit().await.map_err(on_commit)?;
    Ok(decisions)
}

/// Takes what `lines` ask for, product by product; `false` at the first that has too little.
/// What was taken until then is the caller's to roll back.
async fn take_if_enough(
    connection: &mut SqliteConnection,
    lines: &[RequestedLine],
    at: DateTime<Utc>,
) -> Result<bool, Error> {
    for product_id in plan::products_of(lines) {
        let taken = sqlx::query(
            "UPDATE products SET stock = stock - ?2, version = version + 1, updated_at = ?3
             WHERE id = ?1 AND archived_at IS NULL AND stock >= ?2",
        )
        .bind(product_id.0)
        .bind(requested_of(product_id, lines))
        .bind(Micros::from(at))
        .execute(&mut *connection)
        .await?;
        if taken.rows_affected() == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
