//! The store as a whole: what it offers besides products and orders, and its upkeep.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{migrate, search, store::PostgresStore};
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
            backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
            rows::discrepancies,
        },
    },
};

/// The time that verifying the stock of all products may take.
const VERIFY_LIMIT: Duration = Duration::from_secs(60 * 60);

#[async_trait]
impl Store for PostgresStore {
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
        let ping = async { self.read().await?.execute("SELECT 1", &[]).await };
        self.attempt(ping).await.map(drop)
    }

    async fn check_writable(&self) -> Result<(), Error> {
        if self.connections.is_starved() {
            let source = Arc::new(sqlx::Error::PoolTimedOut);
            return Err(Error::Unavailable { source });
        }
        self.probe.check().await
    }

    async fn migrate(&self) -> Result<(), Error> {
        migrate::run(&self.sessions).await?;
        search::fold_all_names(self).await
    }

    async fn verify(&self) -> Result<Vec<StockDiscrepancy>, Error> {
        self.connections
            .within(VERIFY_LIMIT, self.verify_once())
            .await
    }

    fn pools(&self) -> Vec<PoolStats> {
        vec![self.connections.stats()]
    }
}

impl PostgresStore {
    async fn verify_once(&self) -> Result<Vec<StockDiscrepancy>, Error> {
        let mut tx = self.begin(Priority::Background, None).await?;
        tx.execute(PLAN_TO_VERIFY, &[]).await?;
        let rows = tx.fetch_all(DISCREPANCIES, &[]).await?;
        tx.commit().await?;
        Ok(discrepancies(rows))
    }
}

/// One statement sees one snapshot; it reads everything, so that it needs the plans that sessions
/// rule out otherwise, and the time.
const PLAN_TO_VERIFY: &str = "SELECT set_config(name, 'on', true)
     FROM unnest('{enable_seqscan, enable_hashjoin, enable_sort}'::text[]) name
     UNION ALL SELECT set_config(name, reset_val, true) FROM pg_settings
     WHERE name = 'max_parallel_workers_per_gather'
     UNION ALL SELECT set_config('statement_timeout', '59min', true)";

const DISCREPANCIES: &str = "SELECT p.id, p.stock,
            coalesce(a.adjusted, 0)::bigint AS adjusted, coalesce(h.held, 0)::bigint AS held
     FROM products p
     LEFT JOIN (SELECT product_id, sum(delta) AS adjusted
                FROM stock_adjustments GROUP BY product_id) a ON a.product_id = p.id
     LEFT JOIN (SELECT l.product_id, sum(l.quantity) AS held
                FROM order_lines l JOIN orders o ON o.id = l.order_id
                WHERE o.status IN ('success', 'completed') GROUP BY l.product_id) h
            ON h.product_id = p.id
     WHERE p.stock <> coalesce(a.adjusted, 0) - coalesce(h.held, 0)
     ORDER BY p.id";
