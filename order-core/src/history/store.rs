//! The steps of archiving and erasing that are the database's.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{ArchiveFile, ArchivedOrder, Manifest, ProductSums, StoredOrder};
use crate::{
    domain::{OrderId, ProductId},
    error::Error,
};

/// Orders that are at their end, from one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The orders, in the order of their ids.
    pub orders: Vec<ArchivedOrder>,
    /// What they took of each product and gave back, as the database counts it.
    pub products: BTreeMap<ProductId, ProductSums>,
}

/// What was emptied of a customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// The orders that no longer name the customer, and have no reference.
    pub orders: u64,
    /// The products of which the customer had pieces in archived orders, which no longer count.
    pub archived_products: u64,
    /// The archived files that may still name the customer: they were not touched.
    pub files: u64,
}

/// Keeps orders, and lets go of those that are at their end.
///
/// An order is at its end when it is completed, failed, cancelled or expired, has no task, not even a
/// dead one, and no idempotency key that is younger than its [retention](crate::domain::IdempotencyKey::KEPT_FOR).
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// The time, by the clock of the store.
    async fn time(&self) -> Result<DateTime<Utc>, Error>;

    /// The first and the last of up to `limit` orders after one and before another that may be at their
    /// end: they are in a final state, and have no task.
    async fn next_ended(
        &self,
        after: OrderId,
        before: OrderId,
        limit: usize,
    ) -> Result<Option<(OrderId, OrderId)>, Error>;

    /// The orders from one to another that are at their end, with all that is theirs.
    async fn ended_orders(&self, first: OrderId, last: OrderId) -> Result<Ended, Error>;

    /// The file that was begun and is not finished, if there is one.
    async fn open_file(&self) -> Result<Option<ArchiveFile>, Error>;

    /// Begins a file of the orders from one to another.
    ///
    /// # Errors
    /// [`Error::Locked`] when another is open.
    async fn begin_file(&self, first: OrderId, last: OrderId) -> Result<ArchiveFile, Error>;

    /// Forgets a file that was begun and is not sealed.
    async fn abandon_file(&self, file: &ArchiveFile) -> Result<(), Error>;

    /// Seals a file that is proven to be on the disk: from now on, its orders may be deleted.
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody else sealed it with other contents.
    async fn seal_file(
        &self,
        file: &ArchiveFile,
        manifest: &Manifest,
    ) -> Result<ArchiveFile, Error>;

    /// Deletes the idempotency keys of `orders` of a sealed file that are older than their retention;
    /// gives their number.
    async fn forget_keys(
        &self,
        file: &ArchiveFile,
        orders: &HashSet<OrderId>,
    ) -> Result<u64, Error>;

    /// Deletes orders of a sealed file, with all that is theirs, and adds what they amounted to to the
    /// sums that stay, in one transaction. Gives those that are still there, because they are not as
    /// they stand in the file.
    async fn delete_orders(
        &self,
        file: &ArchiveFile,
        orders: &[StoredOrder],
    ) -> Result<Vec<OrderId>, Error>;

    /// Finishes a sealed file, of whose orders so many were left out.
    async fn finish_file(&self, file: &ArchiveFile, left_out: usize) -> Result<(), Error>;

    /// Empties what orders tell of a customer.
    ///
    /// # Errors
    /// [`Error::OpenOrders`] when orders of the customer are not at their end: nothing was done.
    async fn erase_customer(&self, customer: &str) -> Result<Erased, Error>;
}
