//! The store, and how it begins transactions.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::{
    claim_cursor::ClaimCursor,
    connections::{Connections, PooledConnection, PostgresOptions},
    due_cursor::DueCursor,
    error, migrate,
    probe::Probe,
    queue::PostgresQueue,
    search, startup,
};
use crate::{
    clock::{Clock, SystemClock},
    domain::IdGenerator,
    error::Error,
    heartbeat::WorkerStore,
    keys::KeyStore,
    process::TaskStore,
    queue::OrderQueue,
    stats::StatsStore,
    store::{
        contention::Contention,
        database::{PoolStats, StockDiscrepancy, Store},
        sql::{
            backend::{LockFailure, Priority, SqlBackend, SqlConnection, SqlTransaction},
            error::driver_error,
            rows::discrepancies,
        },
    },
};

/// The time that verifying the stock of all products may take.
const VERIFY_LIMIT: Duration = Duration::from_secs(60 * 60);
/// The time that an attempt with long statements may take: about as long as a statement may.
const LONG_LIMIT: Duration = Duration::from_secs(29);

/// Products and orders in a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pub(super) connections: Connections,
    connect: Arc<PgConnectOptions>,
    probe: Arc<Probe>,
    pub(super) claim_cursor: Arc<ClaimCursor>,
    pub(super) contention: Arc<Contention>,
    pub(super) due_entries: Arc<DueCursor>,
    pub(super) due_batches: Arc<DueCursor>,
    /// Held from the claim of a batch until its products are locked: batches of this process
    /// lock products in the order of their claims, and one claims while another writes.
    pub(super) claim_mutex: Arc<Mutex<()>>,
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
        Ok(Self::over(connections, Arc::new(connect)))
    }

    pub(super) fn over(connections: Connections, connect: Arc<PgConnectOptions>) -> Self {
        let id = IdGenerator::default().next(SystemClock.now());
        Self {
            probe: Arc::new(Probe::new(&connect, id)),
            connect,
            connections,
            claim_cursor: Arc::default(),
            contention: Arc::default(),
            due_entries: Arc::default(),
            due_batches: Arc::default(),
            claim_mutex: Arc::default(),
        }
    }

    /// The queue with leases that this database can be.
    #[must_use]
    pub fn queue(&self) -> PostgresQueue {
        PostgresQueue::over(self.clone())
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
        migrate::run(&self.connect).await?;
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

#[async_trait]
impl SqlBackend for PostgresStore {
    type Connection = PgConnection;
    type Reader = PooledConnection;
    type Transaction = PooledConnection;

    const RETRIES_READS: bool = true;

    async fn read(&self) -> Result<PooledConnection, Error> {
        self.connections.acquire().await
    }

    async fn begin(
        &self,
        _priority: Priority,
        lock_wait: Option<Duration>,
    ) -> Result<PooledConnection, Error> {
        let mut connection = self.read().await?;
        connection.begin(lock_wait).await?;
        Ok(connection)
    }

    async fn begin_single(&self, _priority: Priority) -> Result<PooledConnection, Error> {
        self.read().await
    }

    fn on_single(error: Error) -> Error {
        error::on_commit(error)
    }

    async fn attempt<T: Send>(
        &self,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.connections.attempt(attempt).await
    }

    async fn attempt_long<T: Send>(
        &self,
        attempt: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.connections.within(LONG_LIMIT, attempt).await
    }

    fn lock_failure(error: &Error) -> Option<LockFailure> {
        error::lock_failure(error)
    }

    fn is_conclusive(error: &Error) -> bool {
        matches!(error, Error::Unavailable { .. })
            && matches!(driver_error(error), Some(sqlx::Error::PoolTimedOut))
    }
}
