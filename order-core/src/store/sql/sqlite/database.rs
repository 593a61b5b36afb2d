//! The store as a whole: what it offers besides products and orders, and its upkeep.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::store::SqliteStore;
use crate::{
    audit::AuditStore,
    error::Error,
    heartbeat::WorkerStore,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
    store::{
        database::{PoolStats, StockDiscrepancy, Store},
        sql::{
            backend::{SqlBackend, SqlConnection},
            names,
            rows::discrepancies,
        },
    },
};

const MIGRATION_RACES: u32 = 5;
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);

#[async_trait]
impl Store for SqliteStore {
    fn key_store(self: Arc<Self>) -> Option<Arc<dyn KeyStore>> {
        Some(self)
    }

    fn task_store(self: Arc<Self>) -> Option<Arc<dyn TaskStore>> {
        Some(self)
    }

    fn worker_store(self: Arc<Self>) -> Option<Arc<dyn WorkerStore>> {
        Some(self)
    }

    fn stats_store(self: Arc<Self>) -> Option<Arc<dyn StatsStore>> {
        Some(self)
    }

    fn audit_store(self: Arc<Self>) -> Option<Arc<dyn AuditStore>> {
        Some(self)
    }

    fn queue(&self) -> Option<Arc<dyn OrderQueue>> {
        Some(Arc::new(self.queue()))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.read().await?.execute("SELECT 1", &[]).await.map(drop)
    }

    async fn check_writable(&self) -> Result<(), Error> {
        self.writer.check().await
    }

    async fn reclaim_disk(&self) -> Result<(), Error> {
        self.writer.cut_log().await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn migrate(&self) -> Result<(), Error> {
        self.migrate_schema().await?;
        names::fold_names(self).await.map(drop)
    }

    /// Takes none of the connections that requests read by, however long it takes.
    async fn verify(&self) -> Result<Vec<StockDiscrepancy>, Error> {
        let mut connection = self.readers.apart().await?;
        let rows = connection.fetch_all(DISCREPANCIES, &[]).await?;
        Ok(discrepancies(rows))
    }

    fn pools(&self) -> Vec<PoolStats> {
        vec![
            PoolStats::of("writer", self.writer.pool()),
            PoolStats::of("readers", self.readers.pool()),
        ]
    }
}

impl SqliteStore {
    async fn migrate_schema(&self) -> Result<(), Error> {
        let migrations = sqlx::migrate!("./migrations/sqlite");
        // The driver has no lock for this: of two processes that start on a new file, one
        // fails, and then finds it done.
        for _ in 0..MIGRATION_RACES {
            if migrations.run(self.writer.pool()).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(MIGRATION_PAUSE).await;
        }
        Ok(migrations.run(self.writer.pool()).await?)
    }
}

const DISCREPANCIES: &str = "WITH a AS MATERIALIZED (
         SELECT product_id, sum(delta) AS adjusted
         FROM stock_adjustments GROUP BY product_id),
     h AS MATERIALIZED (
         SELECT l.product_id, sum(l.quantity) AS held
         FROM order_lines l JOIN orders o ON o.id = l.order_id
         WHERE o.status IN ('success', 'completed') GROUP BY l.product_id)
     SELECT p.id, p.stock, coalesce(a.adjusted, 0) AS adjusted, coalesce(h.held, 0) AS held
     FROM products p LEFT JOIN a ON a.product_id = p.id LEFT JOIN h ON h.product_id = p.id
     WHERE p.stock <> coalesce(a.adjusted, 0) - coalesce(h.held, 0)
     ORDER BY p.id";
