//! What operators want to know, at a cost that does not grow with the number of orders.
//!
//! Totals come from tallies: the schema counts orders as they come to each milestone, in the
//! transaction that brings them there. So the sums are exact at every moment and after every
//! restart, and reading them counts no orders. What tallies cannot tell is read off the
//! newest orders, up to a limit.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    domain::{OrderId, Product},
    error::Error,
};

/// How far back things are told second by second; older ones are folded into minutes, hours
/// and days.
pub const DETAILED: Duration = Duration::from_secs(900);

/// How many orders came to each milestone. An order that passed one has passed it for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored, whatever became of them.
    pub accepted: u64,
    /// Got their stock.
    pub sold: u64,
    /// Did not get it.
    pub failed: u64,
    /// Were sold, and what follows a sale is done.
    pub completed: u64,
    /// Were cancelled.
    pub cancelled: u64,
    /// Those of the cancelled that had been sold.
    pub returned: u64,
}

impl Counts {
    /// Orders that are not decided.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        let settled = self.sold + self.failed + self.cancelled - self.returned;
        self.accepted.saturating_sub(settled)
    }

    /// Orders that hold stock and are not completed.
    #[must_use]
    pub const fn success(&self) -> u64 {
        self.sold.saturating_sub(self.completed + self.returned)
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.accepted += more.accepted;
        self.sold += more.sold;
        self.failed += more.failed;
        self.completed += more.completed;
        self.cancelled += more.cancelled;
        self.returned += more.returned;
    }
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// Its beginning.
    pub at: DateTime<Utc>,
    /// The orders that came to each milestone in it.
    pub counts: Counts,
    /// How long those decided in it had waited on average, if any had.
    pub mean_wait: Option<Duration>,
    /// The longest that one of them had waited.
    pub longest_wait: Option<Duration>,
}

/// All that the tallies say, from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallies {
    /// When, by the clock of the database, which is also that of the seconds.
    pub at: DateTime<Utc>,
    /// Since the beginning.
    pub totals: Counts,
    /// The seconds in which something happened, oldest first.
    pub seconds: Vec<Second>,
}

/// An undecided order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The order.
    pub id: OrderId,
    /// How long it has been pending, by the clock of the store.
    pub age: Duration,
}

/// An order that had waited for its decision. Who decides may look at the clock before an
/// order comes that is claimed all the same: `until` may lie before `since`, by a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When it was accepted.
    pub since: DateTime<Utc>,
    /// When it was decided.
    pub until: DateTime<Utc>,
}

/// A product that many of the newest orders ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotProduct {
    /// The product.
    pub product: Product,
    /// Pieces that those orders ask for.
    pub wanted: u64,
}

/// Answers operators. Every question is bounded, however many orders there are.
#[async_trait]
pub trait StatsStore: Send + Sync {
    /// The totals, and the seconds of the last `window`, at most [`DETAILED`].
    async fn tallies(&self, window: Duration) -> Result<Tallies, Error>;

    /// Makes of many rows of tallies few, as if it were `ahead` later than the clock of the store
    /// says; how many it replaced. Any number of processes may do so at any time: sums stay as
    /// they are.
    async fn fold_tallies(&self, ahead: Duration) -> Result<u64, Error>;

    /// The oldest order that is not decided.
    async fn oldest_pending(&self) -> Result<Option<Waiting>, Error>;

    /// How long those of the last `orders` before `before` that are decided had waited;
    /// purchases, which do not wait, are left out.
    async fn waits(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error>;

    /// Up to `limit` living products that the last `orders` ask for, the most wanted first.
    async fn hot_products(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error>;
}
