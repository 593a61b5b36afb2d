//! The three strategies behind one interface: the loops around what a backend does in one
//! transaction.

use std::future::Future;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Decided, Outcome, Pick, Purchase,
    retry::{Retry, with_retry},
};
use crate::{
    domain::{NewOrder, OrderId, Product, ProductId},
    error::Error,
};

/// How concurrent orders for the same product are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Lock the products of many orders once, decide in memory, write once per table.
    #[default]
    Batch,
    /// One order per transaction, under `SELECT … FOR UPDATE` of its products.
    RowLock,
    /// One order per transaction, by `UPDATE … SET stock = stock − n WHERE stock >= n`.
    ConditionalUpdate,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 3] = [Self::Batch, Self::RowLock, Self::ConditionalUpdate];

    /// Its name in settings and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::RowLock => "row_lock",
            Self::ConditionalUpdate => "conditional_update",
        }
    }
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Strategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|strategy| strategy.as_str() == text)
            .ok_or_else(|| {
                Error::invalid("strategy", "must be batch, row_lock or conditional_update")
            })
    }
}

/// What a backend does in one transaction: one attempt each, retried by the loops here.
#[async_trait]
pub(super) trait Turns: Sync {
    /// Makes an attempt, within the limit that this backend has.
    async fn attempt<T: Send>(
        &self,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        attempt.await
    }

    /// Those of `products` that are living, as they are now.
    async fn living(&self, products: &[ProductId]) -> Result<Vec<Product>, Error>;

    /// Sells orders, decided by what is seen without a lock, if that is as good; `None`, and no
    /// trace, when it is not. All are sold, and what was seen is checked under the locks as they
    /// are written; or none is, so that they had their turn when it was seen. With anything
    /// between, an order's turn would depend on those ahead of it, which come later.
    async fn purchase_as_seen(
        &self,
        _orders: &[NewOrder],
        _retry: &Retry,
    ) -> Result<Option<Outcome<Purchase>>, Error> {
        Ok(None)
    }

    /// Sells orders under the locks of their products.
    async fn purchase_locked(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Outcome<Purchase>, Error>;

    /// Sells one order by conditional updates; `None`, and no trace, when one of them refuses.
    async fn purchase_if_enough(
        &self,
        order: &NewOrder,
        retry: &Retry,
    ) -> Result<Option<Outcome<Purchase>>, Error>;

    /// Decides pending orders under the locks of their products.
    async fn decide_locked(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Outcome<Decided>, Error>;

    /// Decides one pending order by conditional updates; when one of them refuses, under
    /// locks, as `purchase_conditional` does.
    async fn decide_conditional(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
        retry: &Retry,
    ) -> Result<Outcome<Decided>, Error>;
}

pub(super) async fn purchase(
    turns: &impl Turns,
    orders: &[NewOrder],
    strategy: Strategy,
) -> Result<Outcome<Purchase>, Error> {
    if strategy == Strategy::Batch {
        return purchase_together(turns, orders, Retry::default()).await;
    }
    let mut outcome = Outcome::default();
    for order in orders {
        let one = std::slice::from_ref(order);
        outcome.extend(match strategy {
            Strategy::ConditionalUpdate => {
                let mut retry = Retry::alone();
                with_retry!(
                    retry,
                    turns.attempt(purchase_conditional(turns, order, &retry))
                )?
            }
            _ => {
                let mut retry = Retry::alone();
                with_retry!(retry, turns.attempt(turns.purchase_locked(one, &retry)))?
            }
        });
    }
    Ok(outcome)
}

/// Sells orders in one transaction, however many attempts it takes.
pub(super) async fn purchase_together(
    turns: &impl Turns,
    orders: &[NewOrder],
    mut retry: Retry,
) -> Result<Outcome<Purchase>, Error> {
    with_retry!(retry, turns.attempt(purchase_batch(turns, orders, &retry)))
}

/// Sells what can be sold as it is seen, and else under locks.
async fn purchase_batch(
    turns: &impl Turns,
    orders: &[NewOrder],
    retry: &Retry,
) -> Result<Outcome<Purchase>, Error> {
    if let Some(outcome) = turns.purchase_as_seen(orders, retry).await? {
        return Ok(outcome);
    }
    turns.purchase_locked(orders, retry).await
}

/// Sells one order by conditional updates; when one of them refuses, under locks, which
/// tells why (or sells after all, when stock came back in between). So is one that has a key,
/// which may have been sold before.
async fn purchase_conditional(
    turns: &impl Turns,
    order: &NewOrder,
    retry: &Retry,
) -> Result<Outcome<Purchase>, Error> {
    if !retry.resolving()
        && order.key.is_none()
        && let Some(sold) = turns.purchase_if_enough(order, retry).await?
    {
        return Ok(sold);
    }
    turns
        .purchase_locked(std::slice::from_ref(order), retry)
        .await
}

pub(super) async fn decide(
    turns: &impl Turns,
    pick: Pick<'_>,
    strategy: Strategy,
    at: DateTime<Utc>,
) -> Result<Outcome<Decided>, Error> {
    if strategy == Strategy::Batch {
        return decide_one(turns, pick, strategy, at, &mut Retry::default()).await;
    }
    let mut outcome = Outcome::default();
    for one in singly(pick) {
        let decided = decide_one(turns, one, strategy, at, &mut Retry::alone()).await?;
        if decided.results.is_empty() && matches!(pick, Pick::Oldest(_)) {
            break;
        }
        outcome.extend(decided);
    }
    Ok(outcome)
}

/// Decides in one transaction, however many attempts it takes.
pub(super) async fn decide_one(
    turns: &impl Turns,
    pick: Pick<'_>,
    strategy: Strategy,
    at: DateTime<Utc>,
    retry: &mut Retry,
) -> Result<Outcome<Decided>, Error> {
    let decided = match strategy {
        Strategy::ConditionalUpdate => {
            with_retry!(
                retry,
                turns.attempt(turns.decide_conditional(pick, at, retry))
            )
        }
        _ => with_retry!(retry, turns.attempt(turns.decide_locked(pick, at, retry))),
    };
    let mut outcome = decided?;
    let doubted = retry.doubted();
    if !doubted.is_empty() {
        let changed = with_retry!(_retry => turns.attempt(turns.living(&doubted)))?;
        outcome.extend(Outcome {
            changed,
            ..Outcome::default()
        });
    }
    Ok(outcome)
}

/// The same choice, one order at a time.
fn singly<'a>(pick: Pick<'a>) -> impl Iterator<Item = Pick<'a>> + Send {
    let (count, ids) = match pick {
        Pick::Oldest(limit) => (limit, &[] as &[OrderId]),
        Pick::These(ids) => (0, ids),
    };
    let oldest = std::iter::repeat_n(Pick::Oldest(1), count);
    oldest.chain(ids.chunks(1).map(Pick::These))
}
