//! The store, and how it begins transactions.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::PgConnection;
#[cfg(any(feature = "bench", feature = "testing"))]
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::{
    claim_cursor::ClaimCursor,
    connections::{Connections, PooledConnection},
    due_cursor::DueCursor,
    error, hosts,
    primary::{Servers, Watch},
    probe::Probe,
    session::{self, Sessions},
    startup,
};
use crate::{
    clock::{Clock, SystemClock},
    domain::IdGenerator,
    error::Error,
    store::{
        connect_options::ConnectOptions,
        contention::Contention,
        sql::{
            backend::{LockFailure, Priority, SqlBackend},
            error_class::driver_error,
            gate::Gates,
        },
    },
};

/// The time that an attempt with long statements may take: about as long as a statement may.
const LONG_LIMIT: Duration = Duration::from_secs(29);

/// Products and orders in a Postgres database.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pub(super) connections: Connections,
    /// Those of keys and heartbeats.
    pub(super) apart: Connections,
    gates: Arc<Gates>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) probe: Arc<Probe>,
    /// Follows the primary, when there are several servers.
    _watch: Option<Arc<Watch>>,
    pub(super) claim_cursor: Arc<ClaimCursor>,
    pub(super) contention: Arc<Contention>,
    pub(super) due_entries: Arc<DueCursor>,
    pub(super) due_batches: Arc<DueCursor>,
    /// Held from the claim of a batch until its products are locked: batches of this process
    /// lock products in the order of their claims, and one claims while another writes.
    pub(super) claim_mutex: Arc<Mutex<()>>,
}

impl PostgresStore {
    /// Connects to `url` (`postgres://user:password@host:port/database`). It may name several
    /// servers (`…@a:5432,b:5432/database`): connections lead to the one that takes writes, also
    /// after a failover.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `database_url`, also when what it leads to cannot be worked
    /// with; [`Error::Unavailable`] when nobody answers, or only a standby.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_with(url, ConnectOptions::default()).await
    }

    /// The same, otherwise than usual.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); [`Error::Invalid`] also when it names an option.
    pub async fn connect_with(url: &str, options: ConnectOptions) -> Result<Self, Error> {
        options.check()?;
        let mut servers = hosts::parse(url)?.into_iter().map(|server| {
            let server = server.application_name(session::NAME);
            // A pooler refuses what it does not know, and no number of ours goes as text.
            server.extra_float_digits(None)
        });
        let first = servers
            .next()
            .ok_or_else(|| Error::invalid("database_url", "names no server"))?;
        let servers = Servers::new(first, servers.collect());
        let sessions = Sessions::new(servers, options.schema.clone());
        let found = sessions
            .servers
            .find_within(options.acquire_timeout)
            .await?;
        let connections = Connections::open(&sessions, &options).await?;
        connections
            .attempt(startup::check(&connections, &sessions.connect_options()))
            .await?;
        let apart = Connections::apart(&sessions, &options);
        let watch = found.map(|found| {
            let pools = vec![connections.pool().clone(), apart.pool().clone()];
            Arc::new(Watch::begin(&sessions.servers, pools, found))
        });
        let id = IdGenerator::default().next(SystemClock.now());
        Ok(Self {
            probe: Arc::new(Probe::new(&sessions, id)),
            _watch: watch,
            sessions: Arc::new(sessions),
            gates: Arc::new(Gates::new(connections.most_reads())),
            connections,
            apart,
            claim_cursor: Arc::default(),
            contention: Arc::default(),
            due_entries: Arc::default(),
            due_batches: Arc::default(),
            claim_mutex: Arc::default(),
        })
    }

    /// The driver's pool, for tests and measurements that look past the traits.
    #[cfg(any(feature = "bench", feature = "testing"))]
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
        let mut connection = self.connections.acquire().await?;
        connection.begin(lock_wait).await?;
        Ok(connection)
    }

    fn gates(&self) -> &Gates {
        &self.gates
    }

    async fn read_apart(&self) -> Result<PooledConnection, Error> {
        self.apart.acquire().await
    }

    async fn begin_apart(&self) -> Result<PooledConnection, Error> {
        self.apart.acquire().await
    }

    async fn begin_single(&self, _priority: Priority) -> Result<PooledConnection, Error> {
        self.connections.acquire().await
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
