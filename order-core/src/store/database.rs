//! The trait of a database that keeps everything.

use std::sync::Arc;

use async_trait::async_trait;

use super::{orders::OrderStore, products::ProductStore};
use crate::{
    domain::ProductId, error::Error, keys::KeyStore, process::TaskStore, queue::OrderQueue,
    stats::StatsStore, worker::WorkerStore,
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
    pub(super) fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> Self {
        Self {
            name,
            open: pool.size(),
            idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX),
            max: pool.options().get_max_connections(),
        }
    }
}

/// A product whose stock is not what its history says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StockDiscrepancy {
    /// The product.
    pub product_id: ProductId,
    /// Pieces that it claims to have.
    pub stock: i64,
    /// The sum of its stock adjustments.
    pub adjusted: i64,
    /// The sum of its lines in orders that hold stock.
    pub held: i64,
}

/// A database that keeps everything.
#[async_trait]
pub trait Store:
    ProductStore + OrderStore + KeyStore + TaskStore + WorkerStore + StatsStore
{
    /// The queue with leases that this database can be. Its topic `process` holds the tasks,
    /// and whether a topic is paused is what it says.
    fn queue(&self) -> Arc<dyn OrderQueue>;

    /// Answers when the database does.
    async fn ping(&self) -> Result<(), Error>;

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
    async fn migrate(&self) -> Result<(), Error>;

    /// Every product whose books do not balance, from one consistent view, also under load:
    /// `stock = Σ adjustments − Σ lines of orders that hold stock`.
    async fn verify(&self) -> Result<Vec<StockDiscrepancy>, Error>;

    /// The connections that it keeps open.
    fn pools(&self) -> Vec<PoolStats>;
}
