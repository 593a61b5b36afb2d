//! Deciding orders that are pending.

use std::ops::DerefMut;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use super::{
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    changes::Changes,
    customers::add_customers,
    holds::reclaim,
    lockable::{ContentionSteps, Waiting},
    plan::{self, LockedProducts, PendingOrder},
    retry::{Attempt, Retry},
    stock::{lock_products, take_if_enough},
};
use crate::{
    decision::{Decided, Granted},
    domain::OrderId,
    error::Error,
    metrics,
    store::{
        orders::{Outcome, Selection},
        strategy::Strategy,
    },
    sync::lock,
};

/// Orders that are locked to be decided.
pub(crate) struct ClaimedOrders {
    pub(super) pending: Vec<PendingOrder>,
    /// Those that were named and cannot be decided now.
    pub(super) put_off: Vec<OrderId>,
}

/// The way in which a database claims pending orders.
#[async_trait]
pub(crate) trait ClaimSteps: SqlBackend {
    /// Waits until the batches that were claimed before have locked their products, where batches
    /// are claimed concurrently.
    async fn lock_claim_mutex(&self, _pick: Selection<'_>) -> Option<OwnedMutexGuard<()>> {
        None
    }

    /// Locks the pending orders to decide, and reads their lines.
    async fn claim(
        &self,
        tx: &mut Self::Transaction,
        selection: Selection<'_>,
        attempt: Attempt,
    ) -> Result<ClaimedOrders, Error>;

    /// Notes that new orders are pending, `first` and later ones.
    fn accepted(&self, _first: OrderId) {}

    /// The id after which pending orders are claimed.
    fn claimed_up_to(&self) -> Uuid {
        Uuid::nil()
    }
}

pub(super) async fn decide<B: ClaimSteps + ContentionSteps>(
    backend: &B,
    selection: Selection<'_>,
    strategy: Strategy,
    at: DateTime<Utc>,
) -> Result<Outcome<Decided>, Error> {
    if strategy == Strategy::Batch {
        return decide_batch(backend, selection, at).await;
    }
    let mut outcome = Outcome::default();
    for one in singly(selection) {
        let (retry, changes) = (Retry::alone(), Changes::default());
        let decided = decide_retrying(backend, one, strategy, at, retry, &changes).await?;
        if decided.results.is_empty() && matches!(selection, Selection::Oldest(_)) {
            break;
        }
        outcome.extend(decided);
    }
    Ok(outcome)
}

/// The same choice, one order at a time.
fn singly<'a>(selection: Selection<'a>) -> impl Iterator<Item = Selection<'a>> + Send {
    let (count, ids) = match selection {
        Selection::Oldest(limit) => (limit, &[] as &[OrderId]),
        Selection::ByIds(ids) => (0, ids),
    };
    let oldest = std::iter::repeat_n(Selection::Oldest(1), count);
    oldest.chain(ids.chunks(1).map(Selection::ByIds))
}

/// Decides orders together, but for those that contain a contended product: they stay pending.
async fn decide_batch<B: ClaimSteps + ContentionSteps>(
    backend: &B,
    selection: Selection<'_>,
    at: DateTime<Utc>,
) -> Result<Outcome<Decided>, Error> {
    let mut waiting = Waiting::begin();
    loop {
        let (retry, changes) = (waiting.retry(), Changes::default());
        let decided =
            decide_retrying(backend, selection, Strategy::Batch, at, retry, &changes).await;
        match decided {
            Err(error) if waiting.goes_on::<B>(&error) => {
                let wanted = std::mem::take(&mut *lock(&changes.wanted));
                backend.examine(&wanted).await;
            }
            result => return result,
        }
    }
}

/// Decides in one transaction, however many attempts it takes.
async fn decide_retrying<B: ClaimSteps + ContentionSteps>(
    backend: &B,
    selection: Selection<'_>,
    strategy: Strategy,
    at: DateTime<Utc>,
    mut retry: Retry,
    changes: &Changes,
) -> Result<Outcome<Decided>, Error> {
    let decided = retry.run(backend, |attempt| async move {
        match strategy {
            Strategy::ConditionalUpdate => {
                decide_conditional(backend, selection, at, attempt, changes).await
            }
            Strategy::Batch | Strategy::RowLock => {
                decide_locked(backend, selection, at, attempt, changes).await
            }
        }
    });
    let mut outcome = decided.await?;
    let changed = changes.read_uncertain(backend, &retry).await?;
    outcome.extend(Outcome::new(Vec::new(), changed));
    Ok(outcome)
}

/// Decides pending orders under the locks of their products.
async fn decide_locked<B: ClaimSteps + ContentionSteps>(
    backend: &B,
    selection: Selection<'_>,
    at: DateTime<Utc>,
    attempt: Attempt,
    changes: &Changes,
) -> Result<Outcome<Decided>, Error> {
    let claiming = backend.lock_claim_mutex(selection).await;
    let mut tx = backend
        .begin(Priority::Background, attempt.lock_wait)
        .await?;
    let ClaimedOrders { pending, put_off } = backend.claim(&mut tx, selection, attempt).await?;
    if pending.is_empty() {
        return Ok(Outcome {
            put_off,
            ..Outcome::default()
        });
    }
    let ids = plan::products_of(pending.iter().flat_map(|order| &order.lines));
    let products = match lock_products(&mut *tx, &ids).await {
        Ok(products) => products,
        Err(error) => {
            *lock(&changes.wanted) = ids;
            // Awaited, so that the next batch finds these orders before later ones.
            let _ = tx.rollback().await;
            return Err(error);
        }
    };
    drop(claiming);
    let mut outcome = decide_claimed(&mut tx, &pending, products, at).await?;
    outcome.put_off = put_off;
    changes.record_changes(&outcome.changed);
    tx.commit().await?;
    Ok(outcome)
}

/// Decides claimed orders, whose products are locked, and writes the decisions.
async fn decide_claimed<T, C>(
    tx: &mut T,
    pending: &[PendingOrder],
    mut locked: LockedProducts,
    at: DateTime<Utc>,
) -> Result<Outcome<Decided>, Error>
where
    C: SqlConnection,
    T: SqlTransaction + DerefMut<Target = C>,
{
    let lines = pending.iter().flat_map(|order| &order.lines);
    let reclaimed = reclaim(tx, &mut locked, lines, at).await?;
    let mut batch_stock = plan::batch_stock(&locked);
    let asking = pending.iter().map(|o| (o.customer.as_deref(), &*o.lines));
    add_customers(&mut **tx, &locked, asking, &mut batch_stock).await?;
    let decisions = plan::decide(pending, &mut batch_stock, locked.now);
    let taken = batch_stock.deductions().collect();
    let changed = tx
        .write_decisions(&decisions, &taken, at, locked.now)
        .await?;
    let reclaimed = reclaimed.unwrap_or_default();
    metrics::expired(reclaimed.orders);
    let mut outcome = Outcome::new(decisions, reclaimed.changed);
    outcome.extend(Outcome::new(Vec::new(), changed));
    Ok(outcome)
}

/// Decides one pending order by conditional updates; when one of them refuses, under locks.
async fn decide_conditional<B: ClaimSteps + ContentionSteps>(
    backend: &B,
    selection: Selection<'_>,
    at: DateTime<Utc>,
    attempt: Attempt,
    changes: &Changes,
) -> Result<Outcome<Decided>, Error> {
    let mut tx = backend
        .begin(Priority::Background, attempt.lock_wait)
        .await?;
    let ClaimedOrders { pending, put_off } = backend.claim(&mut tx, selection, attempt).await?;
    let [order] = pending.as_slice() else {
        return Ok(Outcome {
            put_off,
            ..Outcome::default()
        });
    };
    tx.execute("SAVEPOINT before_taking", &[]).await?;
    let taken = match order.hold_time {
        None => take_if_enough(&mut *tx, &order.lines, at).await?,
        // A hold goes by the clock of the database, which is asked when products are locked.
        Some(_) => None,
    };
    let outcome = if let Some(changed) = taken {
        tx.execute("RELEASE SAVEPOINT before_taking", &[]).await?;
        let results = vec![(order.id, Ok(Granted::Sold))];
        tx.write_decisions(&results, &Vec::new(), at, at).await?;
        Outcome::new(results, changed)
    } else {
        tx.execute("ROLLBACK TO SAVEPOINT before_taking", &[])
            .await?;
        let ids = plan::products_of(&order.lines);
        let products = lock_products(&mut *tx, &ids).await?;
        decide_claimed(&mut tx, &pending, products, at).await?
    };
    changes.record_changes(&outcome.changed);
    tx.commit().await?;
    Ok(outcome)
}
