//! The conditional update strategy: one order per transaction, and the database checks the
//! stock as it takes it.

use chrono::{DateTime, Utc};
use sqlx::{Acquire, PgConnection};

use super::{
    PostgresStore,
    accept::{Columns, prices},
    steps::{decide_claimed, lock, write_decisions, write_sold},
    turn::Claimed,
};
use crate::{
    decision::requested_of,
    domain::{NewOrder, Product, RequestedLine},
    error::Error,
    store::{
        Decided, Outcome, Pick, Purchase,
        error::on_commit,
        plan,
        retry::Retry,
        rows::{self, product_columns},
    },
};

type ProductRow = rows::ProductRow<DateTime<Utc>>;

/// Sells one order, or leaves no trace: `None`.
pub(super) async fn purchase(
    store: &PostgresStore,
    order: &NewOrder,
    retry: &Retry,
) -> Result<Option<Outcome<Purchase>>, Error> {
    let mut connection = store.connections.acquire().await?;
    let mut tx = connection.begin_for(retry).await?;
    let prices = prices(&mut tx, &plan::products_of(&order.lines)).await?;
    let Ok(priced) = order.priced(|id| prices.get(&id).copied()) else {
        return Ok(None);
    };
    let Some(changed) = take_if_enough(&mut tx, &order.lines, order.created_at).await? else {
        // Awaited, so that the locks are gone before the order gets its turn under them.
        tx.rollback().await?;
        return Ok(None);
    };
    let sold = priced.sold(order.created_at);
    let columns = Columns::of(std::iter::once(&sold), &[]);
    write_sold(&mut tx, columns, Vec::new(), order.created_at).await?;
    tx.commit().await.map_err(on_commit)?;
    Ok(Some(Outcome {
        results: vec![Ok(sold)],
        changed,
        ..Outcome::default()
    }))
}

/// Decides one pending order.
pub(super) async fn decide(
    store: &PostgresStore,
    pick: Pick<'_>,
    at: DateTime<Utc>,
    retry: &Retry,
) -> Result<Outcome<Decided>, Error> {
    let mut connection = store.connections.acquire().await?;
    let mut tx = connection.begin_for(retry).await?;
    let Claimed {
        pending,
        claim,
        put_off,
    } = store.claim(&mut tx, pick, retry).await?;
    let [order] = pending.as_slice() else {
        return Ok(Outcome {
            put_off,
            ..Outcome::default()
        });
    };
    let mut attempt = tx.begin().await?;
    let taken = take_if_enough(&mut attempt, &order.lines, at).await?;
    let outcome = if let Some(changed) = taken {
        attempt.commit().await?;
        let results = vec![(order.id, Ok(()))];
        write_decisions(&mut tx, &results, Vec::new(), at).await?;
        Outcome {
            results,
            changed,
            ..Outcome::default()
        }
    } else {
        attempt.rollback().await?;
        let products = lock(&mut tx, order.lines.iter()).await?;
        decide_claimed(&mut tx, &pending, &products, at).await?
    };
    retry.note(outcome.changed.iter().map(|product| product.id));
    tx.commit().await.map_err(on_commit)?;
    claim.committed();
    Ok(outcome)
}

/// Takes what `lines` ask for, product by product in id order, and gives the changed
/// products; `None` at the first that has too little. What was taken until then is the
/// caller's to roll back.
async fn take_if_enough(
    connection: &mut PgConnection,
    lines: &[RequestedLine],
    at: DateTime<Utc>,
) -> Result<Option<Vec<Product>>, Error> {
    let mut changed = Vec::new();
    for product_id in plan::products_of(lines) {
        let row: Option<ProductRow> = sqlx::query_as(concat!(
            "UPDATE products SET stock = stock - $2, version = version + 1, updated_at = $3
             WHERE id = $1 AND archived_at IS NULL AND stock >= $2 RETURNING ",
            product_columns!("")
        ))
        .bind(product_id.0)
        .bind(requested_of(product_id, lines))
        .bind(at)
        .fetch_optional(&mut *connection)
        .await?;
        match row {
            Some(row) => changed.push(row.try_into()?),
            None => return Ok(None),
        }
    }
    Ok(Some(changed))
}
