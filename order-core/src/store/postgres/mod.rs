//! Products and orders in Postgres.
//!
//! The lock order, kept by every transaction of this module: rows of `orders` first, in id
//! order; then tasks; then rows of `products`, in id order; nobody who holds a product row waits
//! for an order row or a task. Two transactions can therefore wait for each other in one direction
//! only.
//!
//! `FOR NO KEY UPDATE` is the lock of both: it excludes every other writer, and lets the
//! foreign key checks of rows that refer to the product pass.

mod accept;
mod conditional;
pub(crate) mod connections;
mod contended;
mod due;
mod frontier;
mod idempotency;
mod keys;
mod migrate;
mod orders;
mod probe;
mod products;
mod read;
mod search;
mod session;
mod startup;
mod stats;
pub(crate) mod steps;
pub(crate) mod task_batches;
mod tasks;
mod turn;
mod workers;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{PgPool, postgres::PgConnectOptions};

use self::{connections::Connections, due::Due, frontier::Frontier, probe::Probe};
use super::{Contention, Imbalance, PoolStats, Store};
use tokio::sync::Mutex;

use crate::{
    clock::{Clock, SystemClock},
    domain::{IdGenerator, ProductId},
    error::Error,
    heartbeat::WorkerStore,
    keys::KeyStore,
    process::TaskStore,
    queue::{OrderQueue, PostgresQueue},
    stats::StatsStore,
};

/// How to use the database.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// The most connections to hold open.
    pub max_connections: u32,
    /// How long an operation waits for a free connection before it fails as unavailable.
    pub acquire_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
        }
    }
}

/// How long the books may take to be read.
const VERIFY_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Products and orders in a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    connections: Connections,
    connect: Arc<PgConnectOptions>,
    probe: Arc<Probe>,
    frontier: Arc<Frontier>,
    contention: Arc<Contention>,
    due: Arc<Due>,
    packed: Arc<Due>,
    /// Held from the claim of a batch until its products are locked: batches of this process
    /// have their turns in the order of their claims, and one claims while another writes.
    turnstile: Arc<Mutex<()>>,
}

impl PostgresStore {
    /// Connects to `url` (`postgres://user:password@host:port/database`).
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `database_url`, also when what it leads to cannot be worked
    /// with; [`Error::Unavailable`] when nobody answers, or only a standby.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, Error> {
        // The driver's message may quote the URL, and the URL holds a password.
        let connect: PgConnectOptions = url
            .parse()
            .map_err(|_| Error::invalid("database_url", "is not a Postgres URL"))?;
        let connect = connect
            .application_name("orders")
            // A pooler refuses what it does not know, and no number of ours goes as text.
            .extra_float_digits(None);
        let connections = Connections::open(connect.clone(), options).await?;
        connections
            .attempt(startup::check(&connections, &connect))
            .await?;
        let id = IdGenerator::default().next(SystemClock.now());
        Ok(Self {
            probe: Arc::new(Probe::new(&connect, id)),
            connect: Arc::new(connect),
            connections,
            frontier: Arc::default(),
            contention: Arc::default(),
            due: Arc::default(),
            packed: Arc::default(),
            turnstile: Arc::default(),
        })
    }

    /// The queue with leases that this database can be.
    #[must_use]
    pub fn queue(&self) -> PostgresQueue {
        PostgresQueue::over(self.connections.clone())
    }

    /// The connections, for what the traits do not offer.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        self.connections.pool()
    }
}

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

    fn queue(&self) -> Option<Arc<dyn OrderQueue>> {
        Some(Arc::new(self.queue()))
    }

    async fn ping(&self) -> Result<(), Error> {
        let ping = async {
            let mut connection = self.connections.acquire().await?;
            sqlx::query("SELECT 1").execute(&mut *connection).await?;
            Ok(())
        };
        self.connections.attempt(ping).await
    }

    async fn check_writable(&self) -> Result<(), Error> {
        if self.connections.is_starved() {
            let source = Arc::new(sqlx::Error::PoolTimedOut);
            return Err(Error::Unavailable { source });
        }
        self.probe.check().await
    }

    async fn migrate(&self) -> Result<(), Error> {
        migrate::run(&self.connect).await?;
        search::fold_all_names(self).await
    }

    async fn verify(&self) -> Result<Vec<Imbalance>, Error> {
        self.connections
            .within(VERIFY_LIMIT, self.verify_once())
            .await
    }

    fn pools(&self) -> Vec<PoolStats> {
        vec![self.connections.stats()]
    }
}

impl PostgresStore {
    async fn verify_once(&self) -> Result<Vec<Imbalance>, Error> {
        let mut connection = self.connections.acquire().await?;
        let mut tx = connection.begin().await?;
        // One statement sees one snapshot; it reads everything, so that it wants the plans
        // that sessions rule out otherwise, and the time.
        sqlx::query(
            "SELECT set_config(name, 'on', true)
             FROM unnest('{enable_seqscan, enable_hashjoin, enable_sort}'::text[]) name
             UNION ALL SELECT set_config(name, reset_val, true) FROM pg_settings
             WHERE name = 'max_parallel_workers_per_gather'
             UNION ALL SELECT set_config('statement_timeout', '59min', true)",
        )
        .execute(&mut *tx)
        .await?;
        let rows: Vec<(uuid::Uuid, i64, i64, i64)> = sqlx::query_as(
            "SELECT p.id, p.stock, coalesce(a.adjusted, 0)::bigint, coalesce(h.held, 0)::bigint
             FROM products p
             LEFT JOIN (SELECT product_id, sum(delta) AS adjusted
                        FROM stock_adjustments GROUP BY product_id) a ON a.product_id = p.id
             LEFT JOIN (SELECT l.product_id, sum(l.quantity) AS held
                        FROM order_lines l JOIN orders o ON o.id = l.order_id
                        WHERE o.status IN ('success', 'completed') GROUP BY l.product_id) h
                    ON h.product_id = p.id
             WHERE p.stock <> coalesce(a.adjusted, 0) - coalesce(h.held, 0)
             ORDER BY p.id",
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
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
}
