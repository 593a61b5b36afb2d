//! A connection to Redis, one server or a cluster, that never makes anybody wait for long.
//!
//! Redis is optional: everything that goes through here may fail, and fails fast. After a
//! failure the circuit is open for a moment: calls fail at once, without asking, until one
//! of them is let through to find out whether Redis is back. So a Redis that hangs costs one
//! time-out, not one for every request.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, RedisFuture,
    ScriptInvocation, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use crate::error::Error;

/// How long the circuit stays open after a failure.
const OPEN_FOR: Duration = Duration::from_millis(500);
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// One server, or a cluster.
#[derive(Clone)]
enum Connection {
    Single(ConnectionManager),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(commands, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(commands, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// When the circuit closes again, if it is open.
#[derive(Debug, Default)]
struct Circuit {
    open_until: Mutex<Option<Instant>>,
    failures: AtomicU64,
}

impl Circuit {
    /// Whether a call may pass. While the circuit is open, none may; after that one may, and
    /// for the others it stays open until that one has found out.
    fn lets_through(&self) -> bool {
        let mut open_until = self.lock();
        match *open_until {
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                *open_until = Some(Instant::now() + OPEN_FOR);
                true
            }
            None => true,
        }
    }

    fn record(&self, is_up: bool) {
        if is_up {
            *self.lock() = None;
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
            *self.lock() = Some(Instant::now() + OPEN_FOR);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        // A time is never left half written, so that a poisoned lock is still good.
        self.open_until
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

struct Shared {
    client: Client,
    limit: Duration,
    connection: OnceCell<Connection>,
    circuit: Circuit,
}

/// A connection to Redis that is made when it is first needed. Clones share it.
#[derive(Clone)]
pub struct RedisClient {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address; the rest may hold a password.
        let address = self.shared.client.get_connection_info().addr().to_string();
        f.debug_tuple("RedisClient").field(&address).finish()
    }
}

impl RedisClient {
    /// A client of `url` (`redis://host:port`, `rediss://` for TLS; for a cluster, any of its
    /// nodes) that gives up on an answer after `limit`. Does not connect yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `redis_url`.
    pub fn new(url: &str, limit: Duration) -> Result<Self, Error> {
        // The driver's message may quote the URL, and the URL may hold a password.
        let info = url
            .into_connection_info()
            .map_err(|_| Error::invalid("redis_url", "is not a Redis URL"))?;
        let client =
            Client::open(info).map_err(|_| Error::invalid("redis_url", "is not a Redis URL"))?;
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                limit,
                connection: OnceCell::new(),
                circuit: Circuit::default(),
            }),
        })
    }

    /// The same address with a connection and a circuit of its own, for calls that wait.
    pub(crate) fn for_waiting(&self, limit: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                client: self.shared.client.clone(),
                limit,
                connection: OnceCell::new(),
                circuit: Circuit::default(),
            }),
        }
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.command(&redis::cmd("PING")).await
    }

    /// How often Redis failed to answer.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.circuit.failures.load(Ordering::Relaxed)
    }

    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.call(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    /// Runs a prepared script. All of its keys must be in one slot of a cluster.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        self.call(async |mut connection| invocation.invoke_async(&mut connection).await)
            .await
    }

    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(Connection) -> Result<T, RedisError>,
    ) -> Result<T, Error> {
        if !self.shared.circuit.lets_through() {
            return Err(unavailable(RedisError::from((
                ErrorKind::Io,
                "circuit is open after a failure",
            ))));
        }
        let limit = self.shared.limit + CONNECT_LIMIT;
        let answer = within(limit, async {
            let connection = self.connection().await?;
            within(self.shared.limit, call(connection)).await
        })
        .await;
        let is_up = match &answer {
            Ok(_) => true,
            Err(error) => !is_away(error),
        };
        self.shared.circuit.record(is_up);
        answer.map_err(|error| {
            if is_away(&error) {
                unavailable(error)
            } else {
                Error::backend(error)
            }
        })
    }

    async fn connection(&self) -> Result<Connection, RedisError> {
        let connect = || self.connect();
        self.shared
            .connection
            .get_or_try_init(connect)
            .await
            .cloned()
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(self.shared.limit));
        let mut single =
            ConnectionManager::new_with_config(self.shared.client.clone(), config).await?;
        let info: String = redis::cmd("INFO")
            .arg("cluster")
            .query_async(&mut single)
            .await?;
        if !info.contains("cluster_enabled:1") {
            return Ok(Connection::Single(single));
        }
        let node = self.shared.client.get_connection_info().clone();
        let cluster = ClusterClientBuilder::new([node])
            .retries(1)
            .connection_timeout(CONNECT_LIMIT)
            .response_timeout(self.shared.limit)
            .build()?;
        Ok(Connection::Cluster(cluster.get_async_connection().await?))
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        let error = (ErrorKind::Io, "no answer in time");
        Err(RedisError::from(error))
    })
}

/// Whether an error says that Redis is away (or cannot serve just now), rather than that it
/// refuses what was asked.
fn is_away(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_connection_refusal()
        || error.is_cluster_error()
        || matches!(
            error.code(),
            Some("LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "OOM")
        )
}

fn unavailable(error: RedisError) -> Error {
    Error::Unavailable {
        source: Arc::new(error),
    }
}
