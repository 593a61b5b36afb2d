//! The three strategies behind one interface: the loops around what a backend does in one
//! transaction.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{
    Pick,
    retry::{Retry, with_retry},
};
use crate::{
    decide::Decision,
    domain::{NewOrder, Order, OrderId},
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
    /// Sells orders under the locks of their products.
    async fn purchase_locked(
        &self,
        orders: &[NewOrder],
        retry: &Retry,
    ) -> Result<Vec<Result<Order, Error>>, Error>;

    /// Sells one order by conditional updates; when one of them refuses, under locks, which
    /// tells why (or sells after all, when stock came back in between).
    async fn purchase_conditional(
        &self,
        order: &NewOrder,
        retry: &Retry,
    ) -> Result<Vec<Result<Order, Error>>, Error>;

    /// Decides pending orders under the locks of their products.
    async fn decide_locked(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
    ) -> Result<Vec<(OrderId, Decision)>, Error>;

    /// Decides one pending order by conditional updates, as `purchase_conditional` sells it.
    async fn decide_conditional(
        &self,
        pick: Pick<'_>,
        at: DateTime<Utc>,
    ) -> Result<Vec<(OrderId, Decision)>, Error>;
}

pub(super) async fn purchase(
    turns: &impl Turns,
    orders: &[NewOrder],
    strategy: Strategy,
) -> Result<Vec<Result<Order, Error>>, Error> {
    if strategy == Strategy::Batch {
        return with_retry!(retry => turns.purchase_locked(orders, &retry));
    }
    let mut results = Vec::with_capacity(orders.len());
    for order in orders {
        let one = std::slice::from_ref(order);
        results.extend(match strategy {
            Strategy::ConditionalUpdate => {
                with_retry!(retry => turns.purchase_conditional(order, &retry))?
            }
            _ => with_retry!(retry => turns.purchase_locked(one, &retry))?,
        });
    }
    Ok(results)
}

pub(super) async fn decide(
    turns: &impl Turns,
    pick: Pick<'_>,
    strategy: Strategy,
    at: DateTime<Utc>,
) -> Result<Vec<(OrderId, Decision)>, Error> {
    if strategy == Strategy::Batch {
        return with_retry!(_retry => turns.decide_locked(pick, at));
    }
    let mut decisions = Vec::new();
    for one in singly(pick) {
        let decided = match strategy {
            Strategy::ConditionalUpdate => {
                with_retry!(_retry => turns.decide_conditional(one, at))?
            }
            _ => with_retry!(_retry => turns.decide_locked(one, at))?,
        };
        if decided.is_empty() && matches!(pick, Pick::Oldest(_)) {
            break;
        }
        decisions.extend(decided);
    }
    Ok(decisions)
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
