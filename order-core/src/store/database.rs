//! The trait of a database, and the handles of its parts.

use std::sync::Arc;

use async_trait::async_trait;

use super::{migration::Migration, orders::OrderStore, products::ProductStore};
use crate::{
    audit::AuditStore,
    domain::Currency,
    error::Error,
    heartbeat::WorkerStore,
    history::HistoryStore,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
    verify::{Discrepancy, Verification, VerifyOptions},
};

/// Connections to a database that are kept open, and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// The name that tells it from other pools of the store.
    pub name: &'static str,
    /// Open connections.
    pub open: u32,
    /// Those of them that nobody uses.
    pub idle: u32,
    /// The most that it opens.
    pub max: u32,
}

impl PoolStats {
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(super) fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> Self {
        Self {
            name,
            open: pool.size(),
            idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            max: pool.options().get_max_connections(),
        }
    }
}

/// A database: products and orders, and whatever else it keeps.
///
/// [`ProductStore`], [`OrderStore`] and [`verify_with`](Self::verify_with) are all that it takes to sell and to
/// pass the conformance suite. Each further trait is a handle of its own; where a database has none,
/// the service answers [`Error::Unsupported`] to calls that need it.
#[async_trait]
pub trait Store: ProductStore + OrderStore {
    /// The keys of an API.
    fn key_store(self: Arc<Self>) -> Option<Arc<dyn KeyStore>> {
        None
    }

    /// The post-sale tasks.
    fn task_store(self: Arc<Self>) -> Option<Arc<dyn TaskStore>> {
        None
    }

    /// The heartbeats of workers, which learn from it what is paused.
    fn worker_store(self: Arc<Self>) -> Option<Arc<dyn WorkerStore>> {
        None
    }

    /// The figures for operators.
    fn stats_store(self: Arc<Self>) -> Option<Arc<dyn StatsStore>> {
        None
    }

    /// The audit log, where changes are entered in their transactions.
    fn audit_store(self: Arc<Self>) -> Option<Arc<dyn AuditStore>> {
        None
    }

    /// What archives and erases.
    fn history_store(self: Arc<Self>) -> Option<Arc<dyn HistoryStore>> {
        None
    }

    /// The queue with leases that this database can be. Its topic `process` holds the tasks,
    /// and it says which topics are paused.
    fn queue(&self) -> Option<Arc<dyn OrderQueue>> {
        None
    }

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Fails when the database does not take writes now: what a purchase needs.
    async fn check_writable(&self) -> Result<(), Error> {
        self.ping().await
    }

    /// Gives back what it holds of the disk and has no more use for; asked every few seconds.
    async fn reclaim_disk(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Closes its connections: nothing is asked of it after. What is committed is durable
    /// without it.
    async fn close(&self) {}

    /// Brings the schema up to date; safe when several processes start at once.
    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The migrations of its schema: those that this program knows, and those that the database has.
    async fn migrations(&self) -> Result<Vec<Migration>, Error> {
        Ok(Vec::new())
    }

    /// Checks everything that is promised of what is stored, from one consistent view, also under
    /// load; above all, for each product, `stock = Σ adjustments − Σ what orders that hold
    /// stock keep`.
    async fn verify_with(&self, options: &VerifyOptions) -> Result<Verification, Error>;

    /// Whatever is not as promised, of all orders.
    async fn verify(&self) -> Result<Vec<Discrepancy>, Error> {
        let verification = self.verify_with(&VerifyOptions::default()).await?;
        Ok(verification.discrepancies)
    }

    /// The currency of its amounts, once one was set.
    async fn currency(&self) -> Result<Option<Currency>, Error> {
        Ok(None)
    }

    /// Makes this the currency of its amounts, unless it has one; gives the one that it has.
    async fn set_currency(&self, currency: Currency) -> Result<Currency, Error> {
        Ok(self.currency().await?.unwrap_or(currency))
    }

    /// The connections that it keeps open.
    fn pools(&self) -> Vec<PoolStats> {
        Vec::new()
    }
}
