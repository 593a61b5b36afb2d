//! The store, and how it begins transactions.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::{
    claim_cursor::ClaimCursor,
    connections::{Connections, PooledConnection, PostgresOptions},
    due_cursor::DueCursor,
    error,
    probe::Probe,
    startup,
};
use crate::{
    clock::{Clock, SystemClock},
    domain::IdGenerator,
    error::Error,
    store::{
        contention::Contention,
        sql::{
            backend::{LockFailure, Priority, SqlBackend},
            error_class::driver_error,
        },
    },
};

/// The time that an attempt with long statements may take: about as long as a statement may.
const LONG_LIMIT: Duration = Duration::from_secs(29);

/// Products and orders in a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pub(super) connections: Connections,
    pub(super) connect: Arc<PgConnectOptions>,
    pub(super) probe: Arc<Probe>,
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

    /// The connections, for what the traits do not offer.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        self.connections.pool()
    }
}

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
