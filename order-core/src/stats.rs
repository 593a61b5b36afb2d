//! Figures for operators, at a cost that does not grow with the number of orders.
//!
//! Totals come from counters: the schema counts orders as they come to each milestone, in the
//! transaction that brings them there. So the sums are exact at every moment and after every
//! restart, and reading them counts no orders. Figures that counters cannot give are
//! read off the newest orders, up to a limit.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    domain::{OrderId, Product},
    error::Error,
};

/// The age up to which counters are kept per second; older ones are compacted into minutes, hours
/// and days.
pub const FULL_RESOLUTION: Duration = Duration::from_secs(900);

/// The orders that came to each milestone. An order that passed one has passed it for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Orders that were stored, whatever became of them.
    pub accepted: u64,
    /// Orders that got their stock for good: at once, or when they were confirmed.
    pub sold: u64,
    /// Orders that did not get it.
    pub failed: u64,
    /// Orders that were sold and whose post-sale task is done.
    pub completed: u64,
    /// Orders that were cancelled.
    pub cancelled: u64,
    /// Those of the cancelled that had been sold.
    pub returned: u64,
    /// Orders that got their stock until they are confirmed.
    pub held: u64,
    /// Those of them that were confirmed, and so sold.
    pub confirmed: u64,
    /// Those of them that were not confirmed in time.
    pub expired: u64,
    /// Those of them that were cancelled before they were confirmed.
    pub released: u64,
}

impl OrderCounts {
    /// Orders that are not decided.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        let decided = self.sold + self.held + self.failed + self.cancelled;
        let twice = self.confirmed + self.returned + self.released;
        (self.accepted + twice).saturating_sub(decided)
    }

    /// Orders that hold stock until they are confirmed.
    #[must_use]
    pub const fn on_hold(&self) -> u64 {
        let ended = self.confirmed + self.expired + self.released;
        self.held.saturating_sub(ended)
    }

    /// Orders that are sold and not completed.
    #[must_use]
    pub const fn success(&self) -> u64 {
        self.sold.saturating_sub(self.completed + self.returned)
    }
}

impl std::ops::AddAssign for OrderCounts {
    fn add_assign(&mut self, more: Self) {
        self.accepted += more.accepted;
        self.sold += more.sold;
        self.failed += more.failed;
        self.completed += more.completed;
        self.cancelled += more.cancelled;
        self.returned += more.returned;
        self.held += more.held;
        self.confirmed += more.confirmed;
        self.expired += more.expired;
        self.released += more.released;
    }
}

/// The events of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// Its beginning.
    pub at: DateTime<Utc>,
    /// The orders that came to each milestone in it.
    pub counts: OrderCounts,
    /// The mean wait of the orders decided in it, if any had waited.
    pub mean_wait: Option<Duration>,
    /// The longest wait of one of them.
    pub longest_wait: Option<Duration>,
}

/// All counters, from one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderCounters {
    /// The time of the snapshot, by the clock of the database, which is also that of the seconds.
    pub at: DateTime<Utc>,
    /// Since the beginning.
    pub totals: OrderCounts,
    /// The seconds in which something happened, oldest first.
    pub seconds: Vec<Second>,
}

/// An undecided order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The order.
    pub id: OrderId,
    /// The time for which it has been pending, by the clock of the store.
    pub age: Duration,
}

/// An order that had waited for its decision. A worker may look at its clock before an
/// order comes that it claims all the same: `until` may lie before `since`, by a little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The time at which it was accepted.
    pub since: DateTime<Utc>,
    /// The time at which it was decided.
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

/// A store that answers operators. Every question is bounded, however many orders there are.
#[async_trait]
pub trait StatsStore: Send + Sync {
    /// The totals, and the seconds of the last `window`, at most [`FULL_RESOLUTION`].
    async fn counters(&self, window: Duration) -> Result<OrderCounters, Error>;

    /// The totals, and the last `span` in steps, each of which is a second of the answer: its first
    /// one. What is older than a quarter of an hour is known by minutes, than a day by hours, and
    /// than thirty days by days: shorter steps than that put it all into one.
    async fn history(&self, span: Duration, step: Duration) -> Result<OrderCounters, Error>;

    /// Compacts many rows of counters into few, as if it were `ahead` later than the clock of the
    /// store says, and gives the number that it replaced. Any number of processes may do so at any
    /// time: sums stay as they are.
    async fn compact_counters(&self, ahead: Duration) -> Result<u64, Error>;

    /// The oldest order that is not decided.
    async fn oldest_pending(&self) -> Result<Option<Waiting>, Error>;

    /// The waits of those of the last `orders` before `before` that are decided; purchases, which
    /// do not wait, are left out.
    async fn waits(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error>;

    /// Up to `limit` active products that the last `orders` ask for, the most wanted first.
    async fn hot_products(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error>;
}
