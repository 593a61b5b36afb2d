//! The store as a whole: what it offers besides products and orders, and its upkeep.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{connections::PooledConnection, migrate, search, store::PostgresStore};
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
    store::{
        database::{PoolStats, Store},
        migration::Migration,
        sql::{
            backend::{Priority, SqlBackend, SqlConnection},
            currency,
            verify::{self, VerifySteps},
        },
    },
    verify::{Verification, VerifyOptions},
};

/// The time that verifying may take.
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

    fn history_store(self: Arc<Self>) -> Option<Arc<dyn HistoryStore>> {
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

    async fn migrations(&self) -> Result<Vec<Migration>, Error> {
        migrate::status(&self.sessions).await
    }

    async fn verify_with(&self, options: &VerifyOptions) -> Result<Verification, Error> {
        let verification = verify::verify(self, options);
        self.connections.within(VERIFY_LIMIT, verification).await
    }

    async fn currency(&self) -> Result<Option<Currency>, Error> {
        currency::get(self).await
    }

    async fn set_currency(&self, currency: Currency) -> Result<Currency, Error> {
        currency::set(self, currency).await
    }

    fn pools(&self) -> Vec<PoolStats> {
        vec![self.connections.stats("database"), self.apart.stats("keys")]
    }
}

#[async_trait]
impl VerifySteps for PostgresStore {
    type Snapshot = PooledConnection;

    const BATCHED_TASKS: &'static str = "/* verify */ SELECT unnest(order_ids) FROM task_batches";

    async fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        let mut tx = self.begin(Priority::Background, None).await?;
        tx.execute(SNAPSHOT, &[]).await?;
        tx.execute(PLAN_TO_VERIFY, &[]).await?;
        Ok(tx)
    }

    async fn snapshot_by_keys(&self) -> Result<Self::Snapshot, Error> {
        let mut tx = self.begin(Priority::Background, None).await?;
        tx.execute(SNAPSHOT, &[]).await?;
        tx.execute(TAKE_TIME, &[]).await?;
        Ok(tx)
    }
}

/// Idempotency keys and returns are found by their orders, for which they have no index.
const TAKE_TIME: &str = "SELECT set_config('statement_timeout', '59min', true)";

const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// What reads everything needs the plans that sessions rule out otherwise, and the time.
const PLAN_TO_VERIFY: &str = "SELECT set_config(name, 'on', true)
     FROM unnest('{enable_seqscan, enable_hashjoin, enable_sort}'::text[]) name
     UNION ALL SELECT set_config(name, reset_val, true) FROM pg_settings
     WHERE name = 'max_parallel_workers_per_gather'
     UNION ALL SELECT set_config('statement_timeout', '59min', true)";
