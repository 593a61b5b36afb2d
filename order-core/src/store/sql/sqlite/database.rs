//! The store as a whole: what it offers besides products and orders, and its upkeep.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{SqliteConnection, migrate::Migrator, query_scalar};

use super::store::SqliteStore;
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
            backend::{SqlBackend, SqlConnection},
            currency, migrations, names,
            verify::{self, VerifySteps},
        },
    },
    verify::{Verification, VerifyOptions},
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

    fn history_store(self: Arc<Self>) -> Option<Arc<dyn HistoryStore>> {
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

    async fn migrations(&self) -> Result<Vec<Migration>, Error> {
        let mut connection = self.readers.apart().await?;
        let begun = query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = ?1");
        let begun: i64 = begun
            .bind(migrations::TABLE)
            .fetch_one(&mut connection)
            .await?;
        migrations::compare(&migrator(), &mut connection, begun > 0).await
    }

    async fn verify_with(&self, options: &VerifyOptions) -> Result<Verification, Error> {
        verify::verify(self, options).await
    }

    async fn currency(&self) -> Result<Option<Currency>, Error> {
        currency::get(self).await
    }

    async fn set_currency(&self, currency: Currency) -> Result<Currency, Error> {
        currency::set(self, currency).await
    }

    fn pools(&self) -> Vec<PoolStats> {
        vec![
            PoolStats::of("writer", self.writer.pool()),
            PoolStats::of("readers", self.readers.pool()),
        ]
    }
}

fn migrator() -> Migrator {
    sqlx::migrate!("./migrations/sqlite")
}

impl SqliteStore {
    async fn migrate_schema(&self) -> Result<(), Error> {
        let migrations = migrator();
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

#[async_trait]
impl VerifySteps for SqliteStore {
    type Snapshot = Box<SqliteConnection>;

    const BATCHED_TASKS: &'static str =
        "/* verify */ SELECT unhex(value) FROM task_batches, json_each(order_ids)";

    /// Takes none of the connections that requests read by, however long it takes.
    async fn snapshot(&self) -> Result<Self::Snapshot, Error> {
        let mut connection = Box::new(self.readers.apart().await?);
        connection.execute("BEGIN", &[]).await?;
        Ok(connection)
    }
}
