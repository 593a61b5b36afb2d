//! The conditional update strategy: one order per transaction, and the database checks the
//! stock as it takes it.

use chrono::{DateTime, Utc};
use sqlx::{Acquire, SqliteConnection};

use super::{
    SqliteStore,
    accept::{insert, prices},
    steps::{claim, decide_claimed, write_decisions},
};
use crate::{
    decision::requested_of,
    domain::{NewOrder, Product, RequestedLine},
    error::Error,
    store::{
        Decided, Outcome, Pick, Purchase, plan,
        retry::Retry,
        rows::{self, Micros, product_columns},
    },
};

/// Sells one order, or leaves no trace: `None`.
pub(super) async fn purchase(
    store: &SqliteStore,
    order: &NewOrder,
) -> Result<Option<Outcome<Purchase>>, Error> {
    let mut tx = store.writer.begin().await?;
    let prices = prices(&mut tx, &plan::products_of(&order.lines)).await?;
    let Ok(priced) = order.priced(|id| prices.get(&id).copied()) else {
        return Ok(None);
    };
    let Some(changed) = take_if_enough(&mut tx, &order.lines, order.created_at).await? else {
        return Ok(None);
    };
    let sold = priced.sold(order.created_at);
    insert(&mut tx, &[&sold]).await?;
    tx.commit().await?;
    Ok(Some(Outcome {
        results: vec![Ok(sold)],
        changed,
        ..Outcome::default()
    }))
}

/// Decides one pending order.
pub(super) async fn decide(
    store: &SqliteStore,
    pick: Pick<'_>,
    at: DateTime<Utc>,
    retry: &Retry,
) -> Result<Outcome<Decided>, Error> {
    let mut tx = store.writer.begin_in_background().await?;
    let pending = claim(&mut tx, pick).await?;
    let [order] = pending.as_slice() else {
        return Ok(Outcome::default());
    };
    let mut attempt = tx.begin().await?;
    let taken = take_if_enough(&mut attempt, &order.lines, at).await?;
    let outcome = if let Some(changed) = taken {
        attempt.commit().await?;
        let results = vec![(order.id, Ok(()))];
        write_decisions(&mut tx, &results, at).await?;
        Outcome {
            results,
            changed,
            ..Outcome::default()
        }
    } else {
        attempt.rollback().await?;
        decide_claimed(&mut tx, &pending, at).await?
    };
    retry.note(outcome.changed.iter().map(|product| product.id));
    tx.commit().await?;
    Ok(outcome)
}

/// Takes what `lines` ask for, product by product, and gives the changed products; `None` at
/// the first that has too little. What was taken until then is the caller's to roll back.
async fn take_if_enough(
    connection: &mut SqliteConnection,
    lines: &[RequestedLine],
    at: DateTime<Utc>,
) -> Result<Option<Vec<Product>>, Error> {
    let mut changed = Vec::new();
    for product_id in plan::products_of(lines) {
        let row: Option<rows::ProductRow<Micros>> = sqlx::query_as(concat!(
            "UPDATE products SET stock = stock - ?2, version = version + 1, updated_at = ?3
             WHERE id = ?1 AND archived_at IS NULL AND stock >= ?2 RETURNING ",
            product_columns!("")
        ))
        .bind(product_id.0)
        .bind(requested_of(product_id, lines))
        .bind(Micros::from(at))
        .fetch_optional(&mut *connection)
        .await?;
        match row {
            Some(row) => changed.push(row.try_into()?),
            None => return Ok(None),
        }
    }
    Ok(Some(changed))
}
