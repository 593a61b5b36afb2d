//! Selling orders at once.
//!
//! The batch strategy decides many orders in one transaction, the row lock strategy one: what
//! differs is the size of the batch, and nothing else. The conditional update strategy has the
//! database check the stock as it takes it.

use async_trait::async_trait;

use super::{
    backend::{LockFailure, Pieces, Priority, SqlBackend, SqlConnection, SqlTransaction},
    customers::add_customers,
    holds::reclaim,
    idempotency::{BatchResult, look_up},
    lockable::{ContentionSteps, Split, Waiting},
    plan::{self, LockedProducts},
    retry::{Attempt, Retry},
    stock::{lock_products, prices, take_if_enough},
};
use crate::{
    domain::{NewOrder, Order, OrderMode},
    error::Error,
    metrics,
    store::{
        orders::{Outcome, Purchase},
        strategy::Strategy,
    },
};

/// A way to sell that a database may have besides.
#[async_trait]
pub(crate) trait PurchaseSteps: ContentionSteps {
    /// Sells orders as they are decided by what is read without a lock, if that is as good;
    /// otherwise gives `None` and leaves no trace.
    async fn purchase_optimistically(
        &self,
        _orders: &[NewOrder],
        _attempt: Attempt,
    ) -> Result<Option<Outcome<Purchase>>, Error> {
        Ok(None)
    }
}

pub(super) async fn purchase<B: PurchaseSteps>(
    backend: &B,
    orders: &[NewOrder],
    strategy: Strategy,
) -> Result<Outcome<Purchase>, Error> {
    if strategy == Strategy::Batch {
        return purchase_batch(backend, orders).await;
    }
    let mut outcome = Outcome::default();
    for order in orders {
        let mut retry = Retry::alone();
        let sold = retry.run(backend, |attempt| {
            purchase_single(backend, order, strategy, attempt)
        });
        outcome.extend(sold.await?);
    }
    Ok(outcome)
}

/// Sells orders together, but for those that contain a contended product: nothing is done for them.
async fn purchase_batch<B: PurchaseSteps>(
    backend: &B,
    orders: &[NewOrder],
) -> Result<Outcome<Purchase>, Error> {
    let mut waiting = Waiting::begin();
    loop {
        let split = Split::of(orders, backend.contention());
        if split.chosen.is_empty() {
            return Ok(split.rejoin(Outcome::default()));
        }
        let mut retry = waiting.retry();
        let sold = retry.run(backend, |attempt| {
            purchase_together(backend, &split.chosen, attempt)
        });
        match sold.await {
            Err(error) if B::lock_failure(&error) == Some(LockFailure::Key) => {
                return Err(Error::Locked);
            }
            Err(error) if waiting.goes_on::<B>(&error) => {
                let lines = split.chosen.iter().flat_map(|order| &order.lines);
                backend.examine(&plan::products_of(lines)).await;
            }
            result => return Ok(split.rejoin(result?)),
        }
    }
}

/// Sells orders as they are decided without locks, if that is as good, and else under locks.
///
/// It is as good when all are sold, and what was read is checked under the locks as they are
/// written; or when none is, so that all were decided when it was read. With anything between, the
/// decision on an order would depend on those ahead of it, which come later.
async fn purchase_together<B: PurchaseSteps>(
    backend: &B,
    orders: &[NewOrder],
    attempt: Attempt,
) -> Result<Outcome<Purchase>, Error> {
    if let Some(outcome) = backend.purchase_optimistically(orders, attempt).await? {
        return Ok(outcome);
    }
    purchase_locked(backend, orders, attempt).await
}

/// Sells orders under the locks of their products.
///
/// An attempt in doubt held these locks until it ended: what it stored shows by now. So does the
/// key that another transaction stored which sold the same products.
async fn purchase_locked<B: SqlBackend>(
    backend: &B,
    orders: &[NewOrder],
    attempt: Attempt,
) -> Result<Outcome<Purchase>, Error> {
    let mut tx = backend.begin(Priority::Request, attempt.lock_wait).await?;
    let ids = plan::products_of(orders.iter().flat_map(|order| &order.lines));
    let mut products = lock_products(&mut *tx, &ids).await?;
    let (at, lines) = (plan::latest(orders), orders.iter().flat_map(|o| &o.lines));
    let reclaimed = reclaim(&mut tx, &mut products, lines, at).await?;
    let (settled, taken) = settle(&mut *tx, orders, &products, attempt).await?;
    let sold: Vec<&Order> = settled.made().collect();
    let mut changed = Vec::new();
    if !sold.is_empty() {
        changed = tx
            .insert_orders(&sold, &settled.records, &taken, at)
            .await?;
    }
    if !sold.is_empty() || reclaimed.is_some() {
        tx.commit().await?;
    } else if settled.results.iter().any(Result::is_ok) {
        tx.confirm().await?;
    }
    let reclaimed = reclaimed.unwrap_or_default();
    metrics::expired(reclaimed.orders);
    let mut outcome = Outcome::new(settled.results, reclaimed.changed);
    outcome.extend(Outcome::new(Vec::new(), changed));
    Ok(outcome)
}

/// Decides each order, unless it was sold before; gives the results, and what the orders take
/// together.
pub(super) async fn settle<C: SqlConnection>(
    connection: &mut C,
    orders: &[NewOrder],
    locked: &LockedProducts,
    attempt: Attempt,
) -> Result<(BatchResult, Pieces), Error> {
    let (batch, stored) =
        look_up(connection, orders, OrderMode::Purchase, attempt.resolving).await?;
    let (prices, mut batch_stock) = (plan::prices(&locked.products), plan::batch_stock(locked));
    let asking = orders.iter().map(|o| (o.customer.as_deref(), &*o.lines));
    add_customers(connection, locked, asking, &mut batch_stock).await?;
    let settled = batch.settle(&stored, |order| {
        plan::sell(order, &prices, &mut batch_stock, locked.now)
    });
    Ok((settled, batch_stock.deductions().collect()))
}

/// Sells one order by conditional updates, if that is the strategy. When one of them refuses, it is
/// sold under locks, which tells why (or sells after all, when stock came back in between). So is
/// an order that has a key, which may have been sold before, and one that asks to be held: a hold goes
/// by the clock of the database, which is asked when products are locked.
async fn purchase_single<B: SqlBackend>(
    backend: &B,
    order: &NewOrder,
    strategy: Strategy,
    attempt: Attempt,
) -> Result<Outcome<Purchase>, Error> {
    if strategy == Strategy::ConditionalUpdate
        && !attempt.resolving
        && order.key.is_none()
        && order.hold_time.is_none()
        && let Some(sold) = purchase_conditional(backend, order, attempt).await?
    {
        return Ok(sold);
    }
    purchase_locked(backend, std::slice::from_ref(order), attempt).await
}

/// Sells one order, or leaves no trace: `None`.
async fn purchase_conditional<B: SqlBackend>(
    backend: &B,
    order: &NewOrder,
    attempt: Attempt,
) -> Result<Option<Outcome<Purchase>>, Error> {
    let at = order.created_at;
    let mut tx = backend.begin(Priority::Request, attempt.lock_wait).await?;
    let prices = prices(&mut *tx, &plan::products_of(&order.lines)).await?;
    let Ok(priced) = prices.order(order) else {
        return Ok(None);
    };
    let Some(changed) = take_if_enough(&mut *tx, &order.lines, at).await? else {
        // Awaited, so that the locks are gone before the order is sold under them.
        tx.rollback().await?;
        return Ok(None);
    };
    let sold = priced.sold(at);
    tx.insert_orders(&[&sold], &[], &Vec::new(), at).await?;
    tx.commit().await?;
    Ok(Some(Outcome::new(vec![Ok(sold)], changed)))
}
