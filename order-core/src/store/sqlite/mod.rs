//! Products and orders in a `SQLite` file.
//!
//! One connection writes, in transactions that take the write lock at once (`BEGIN
//! IMMEDIATE`), so that whoever reads to decide reads under the lock. Others read, each from
//! the snapshot that its statement started with (WAL). `synchronous=FULL` makes every commit
//! durable. Batches go in as JSON arrays: one statement each, however many rows.

mod accept;
mod conditional;
mod fold;
mod idempotency;
mod keys;
mod orders;
mod products;
mod read;
mod stats;
mod steps;
mod tasks;
mod turn;
mod workers;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use super::{Imbalance, PoolStats, Store};
use crate::{
    domain::ProductId,
    error::Error,
    queue::{OrderQueue, SqliteQueue},
};

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
const MIGRATION_RACES: u32 = 5;
const MIGRATION_PAUSE: Duration = Duration::from_millis(100);

/// Products and orders in a `SQLite` file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file that `url` names (`sqlite://path`), and makes it when it is not there.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `database_url`; [`Error::Backend`] when the file cannot
    /// be opened.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        if url.contains(":memory:") || url.contains("mode=memory") {
            let reason = "must name a file: a database in memory does not survive the process";
            return Err(Error::invalid("database_url", reason));
        }
        let options: SqliteConnectOptions = url
            .parse()
            .map_err(|_| Error::invalid("database_url", "is not a SQLite URL"))?;
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.pragma("query_only", "on"));
        Ok(Self { writer, readers })
    }

    /// The queue with leases that this database can be.
    #[must_use]
    pub fn queue(&self) -> SqliteQueue {
        SqliteQueue::new(self.writer.clone())
    }

    /// A transaction that holds the write lock from its start.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn migrate_schema(&self) -> Result<(), Error> {
        let migrations = sqlx::migrate!("./migrations/sqlite");
        // The driver has no lock for this: of two processes that start on a new file, one
        // fails, and then finds it done.
        for _ in 0..MIGRATION_RACES {
            if migrations.run(&self.writer).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(MIGRATION_PAUSE).await;
        }
        Ok(migrations.run(&self.writer).await?)
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn queue(&self) -> Arc<dyn OrderQueue> {
        Arc::new(self.queue())
    }

    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn migrate(&self) -> Result<(), Error> {
        self.migrate_schema().await?;
        fold::fold_names(self).await?;
        Ok(())
    }

    async fn verify(&self) -> Result<Vec<Imbalance>, Error> {
        let rows: Vec<(Uuid, i64, i64, i64)> = sqlx::query_as(
            "WITH a AS MATERIALIZED (
                 SELECT product_id, sum(delta) AS adjusted
                 FROM stock_adjustments GROUP BY product_id),
             h AS MATERIALIZED (
                 SELECT l.product_id, sum(l.quantity) AS held
                 FROM order_lines l JOIN orders o ON o.id = l.order_id
                 WHERE o.status IN ('success', 'completed') GROUP BY l.product_id)
             SELECT p.id, p.stock, coalesce(a.adjusted, 0), coalesce(h.held, 0)
             FROM products p
             LEFT JOIN a ON a.product_id = p.id
             LEFT JOIN h ON h.product_id = p.id
             WHERE p.stock <> coalesce(a.adjusted, 0) - coalesce(h.held, 0)
             ORDER BY p.id",
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(id, stock, adjusted, held)| Imbalance {
                product_id: ProductId(id),
                stock,
                adjusted,
                held,
            })
            .collect())
    }

    fn pools(&self) -> Vec<PoolStats> {
        vec![
            PoolStats::of("writer", &self.writer),
            PoolStats::of("readers", &self.readers),
        ]
    }
}

/// Ids as a JSON array of hexadecimal strings: `unhex(value)` in `json_each` gives the bytes.
fn json_ids(ids: impl IntoIterator<Item = Uuid>) -> sqlx::types::Json<Vec<String>> {
    sqlx::types::Json(ids.into_iter().map(hex).collect())
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}
