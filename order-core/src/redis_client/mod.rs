//! A connection to Redis, one server or a cluster, that never makes anybody wait for long.
//!
//! Redis is optional: everything that goes through here may fail, and fails fast. After a
//! failure the circuit is open for a moment: calls fail at once, without asking, until one
//! of them is let through to find out whether Redis is back. So a Redis that hangs costs one
//! time-out, not one for every request.
//!
//! A connection that did not answer in time is given up, and the next call makes a new one: it
//! may have been the connection that fell silent, and not Redis. Each purpose (the queue, claims
//! that wait, the cache) has a connection and a circuit of its own, so that a slow answer to one
//! stops none of the others.

mod address;
mod circuit;
mod condition;
mod fault;

use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation};
use tokio::time::timeout;

use self::{
    address::{Address, Connection},
    circuit::Circuit,
    condition::Condition,
    fault::{Fault, is_absence},
};
use crate::error::Error;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// What all clients of one Redis share in a process.
struct Family {
    address: Address,
    clients: Mutex<Vec<Weak<Shared>>>,
}

/// A connection, by its number in the order in which they were made.
#[derive(Clone)]
struct Numbered {
    number: u64,
    connection: Connection,
}

#[derive(Default)]
struct Connections {
    made: u64,
    current: Option<Numbered>,
}

struct Shared {
    family: Arc<Family>,
    limit: Duration,
    longest_wait: Duration,
    connections: Mutex<Connections>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
    /// Whether somebody finds out whether the connection is alive.
    is_trying: AtomicBool,
    circuit: Circuit,
    condition: Condition,
}

/// A connection to Redis that is made when it is first needed. Clones share it.
#[derive(Clone)]
pub struct RedisClient {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address; the rest may hold a password.
        let address = self.shared.family.address.shown();
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
        let wrong = |_| Error::invalid("redis_url", "is not a Redis URL");
        let info = url.into_connection_info().map_err(wrong)?;
        let family = Family {
            address: Address::new(info).map_err(wrong)?,
            clients: Mutex::default(),
        };
        Ok(Self::of(Arc::new(family), "health", limit, Duration::ZERO))
    }

    /// The same address with a connection and a circuit of its own.
    pub(crate) fn for_purpose(&self, purpose: &'static str) -> Self {
        self.for_waiting(purpose, Duration::ZERO)
    }

    /// The same, for commands that let Redis wait, for up to `longest_wait`.
    pub(crate) fn for_waiting(&self, purpose: &'static str, longest_wait: Duration) -> Self {
        let family = Arc::clone(&self.shared.family);
        Self::of(family, purpose, self.shared.limit, longest_wait)
    }

    fn of(
        family: Arc<Family>,
        purpose: &'static str,
        limit: Duration,
        longest_wait: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            family,
            limit,
            longest_wait,
            connections: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            is_trying: AtomicBool::new(false),
            circuit: Circuit::default(),
            condition: Condition::new(purpose),
        });
        let mut clients = lock(&shared.family.clients);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&shared));
        drop(clients);
        Self { shared }
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), Error> {
        let wait = self.shared.longest_wait;
        self.waiting_command("ping", &redis::cmd("PING"), wait)
            .await
    }

    /// Whether Redis answers, and did all that this process asked of it within the last seconds,
    /// the queue and the cache included.
    ///
    /// # Errors
    /// What it does not do, and why.
    pub async fn serves(&self) -> Result<(), String> {
        self.ping().await.map_err(|error| error.with_causes())?;
        let family = &self.shared.family;
        let clients: Vec<_> = lock(&family.clients)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for shared in clients {
            let client = Self { shared };
            if client.shared.condition.is_away() {
                // It may be back, and nobody has asked it for anything since.
                let _ = client.ping().await;
            }
            if let Some(trouble) = client.shared.condition.trouble() {
                return Err(trouble);
            }
        }
        Ok(())
    }

    /// Whether a failure says that a key holds something else than was expected. In the answer of
    /// a script, older servers put it into the text.
    pub(crate) fn is_wrong_type(error: &Error) -> bool {
        let Error::Backend { source } = error else {
            return false;
        };
        let error = source.downcast_ref::<RedisError>();
        error.is_some_and(|error| {
            error.to_string().contains("WRONGTYPE") || error.code() == Some("WRONGTYPE")
        })
    }

    /// How often Redis failed to answer.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.circuit.failures()
    }

    /// Runs a command, as a part of `operation`.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<T, Error> {
        self.waiting_command(operation, command, Duration::ZERO)
            .await
    }

    /// Runs a command that lets Redis wait for up to `wait` before it answers.
    pub(crate) async fn waiting_command<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Cmd,
        wait: Duration,
    ) -> Result<T, Error> {
        self.call(Some(operation), wait, async |mut connection| {
            command.query_async(&mut connection).await
        })
        .await
    }

    /// Runs a command that a server may well refuse, or have no answer to.
    pub(crate) async fn try_command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.call(None, Duration::ZERO, async |mut connection| {
            command.query_async(&mut connection).await
        })
        .await
    }

    /// Runs a prepared script. All of its keys must be in one slot of a cluster.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        operation: &'static str,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        self.call(Some(operation), Duration::ZERO, async |mut connection| {
            invocation.invoke_async(&mut connection).await
        })
        .await
    }

    async fn call<T>(
        &self,
        operation: Option<&'static str>,
        wait: Duration,
        call: impl AsyncFnOnce(Connection) -> Result<T, RedisError>,
    ) -> Result<T, Error> {
        let shared = &self.shared;
        if !shared.circuit.lets_through() {
            return Err(unavailable(failure("circuit is open after a failure")));
        }
        let Numbered { number, connection } = match self.connection().await {
            Ok(numbered) => numbered,
            Err(error) => {
                let operation = operation.unwrap_or("connect");
                shared.condition.failed(operation, &error);
                return Err(unavailable(error));
            }
        };
        let abandoned = Abandoned::new(self, number);
        let answer = within(shared.limit + wait, call(connection)).await;
        abandoned.disarm();
        match answer {
            Ok(answer) => {
                shared.circuit.close();
                if let Some(operation) = operation {
                    shared.condition.succeeded(operation);
                }
                Ok(answer)
            }
            Err(error) => Err(self.failed(operation, number, error)),
        }
    }

    /// Draws the consequences of a failure.
    fn failed(&self, operation: Option<&'static str>, number: u64, error: RedisError) -> Error {
        let (shared, fault) = (&self.shared, Fault::of(&error));
        match fault {
            // Whoever came first has opened the circuit; a newer connection may do well.
            Fault::Connection if !self.forget(number) => {}
            Fault::Connection | Fault::Server => shared.circuit.open(),
            Fault::Permission | Fault::Call => shared.circuit.close(),
        }
        if let Some(operation) = operation
            && !is_absence(&error)
        {
            shared.condition.failed(operation, &error);
        }
        match fault {
            Fault::Call => Error::backend(error),
            _ => unavailable(error),
        }
    }

    /// The connection that there is, or a new one. That is made in a task of its own: whoever
    /// stops waiting for it does not stop it, and it is there for the next.
    async fn connection(&self) -> Result<Numbered, RedisError> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let client = self.clone();
        let connecting = tokio::spawn(async move { client.connect().await });
        let ended = connecting.await;
        ended.unwrap_or_else(|_| Err(failure("connecting was broken off")))
    }

    /// Makes a new connection, unless somebody else just did, or could not.
    async fn connect(&self) -> Result<Numbered, RedisError> {
        let shared = &self.shared;
        let failures = shared.circuit.failures();
        let _turn = shared.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if shared.circuit.failures() != failures {
            return Err(failure("another call could not connect"));
        }
        let address = &shared.family.address;
        let connecting = address.connect(shared.limit + shared.longest_wait);
        let connection = match within(CONNECT_LIMIT, connecting).await {
            Ok(connection) => connection,
            Err(error) => {
                shared.circuit.open();
                return Err(error);
            }
        };
        shared.circuit.close();
        let mut connections = lock(&shared.connections);
        connections.made += 1;
        let number = connections.made;
        let numbered = Numbered { number, connection };
        connections.current = Some(numbered.clone());
        Ok(numbered)
    }

    /// Asks on a connection whether it is alive, which gives it up when it is not.
    fn try_connection(&self, number: u64) {
        let current = self.current().filter(|current| current.number == number);
        let (Some(current), Ok(runtime)) = (current, tokio::runtime::Handle::try_current()) else {
            return;
        };
        if self.shared.is_trying.swap(true, Ordering::Relaxed) {
            return;
        }
        let client = self.clone();
        runtime.spawn(async move {
            let (shared, mut connection) = (&client.shared, current.connection);
            let ping = redis::cmd("PING");
            let pong = ping.query_async::<()>(&mut connection);
            if let Err(error) = within(shared.limit + shared.longest_wait, pong).await {
                client.failed(Some("ping"), number, error);
            }
            shared.is_trying.store(false, Ordering::Relaxed);
        });
    }

    fn current(&self) -> Option<Numbered> {
        lock(&self.shared.connections).current.clone()
    }

    /// Gives a connection up; whether it was the one that is used.
    fn forget(&self, number: u64) -> bool {
        let mut connections = lock(&self.shared.connections);
        let is_current = connections.current.as_ref().map(|c| c.number) == Some(number);
        if is_current {
            connections.current = None;
        }
        is_current
    }
}

/// A call that may be given up by whoever made it before its time is over: on a silent connection
/// that would be all that ever happens. So the connection is tried.
struct Abandoned<'a> {
    client: &'a RedisClient,
    number: Option<u64>,
}

impl<'a> Abandoned<'a> {
    const fn new(client: &'a RedisClient, number: u64) -> Self {
        Self {
            client,
            number: Some(number),
        }
    }

    fn disarm(mut self) {
        self.number = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.client.try_connection(number);
        }
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let answer = timeout(limit, answer).await;
    answer.unwrap_or_else(|_| Err(failure("no answer in time")))
}

fn failure(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, what))
}

fn unavailable(error: RedisError) -> Error {
    Error::Unavailable {
        source: Arc::new(error),
    }
}

/// What these locks guard is whole between any two statements: a poisoned one is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
