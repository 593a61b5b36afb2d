//! The connection of a client: made when it is needed, and given up when it is silent.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{ErrorKind, RedisError};
use tokio::time::timeout;

use super::{
    address::{Address, Connection},
    circuit::Circuit,
    condition::Condition,
    fault::{Fault, is_absence},
};
use crate::{error::Error, sync::lock};

/// The longest that connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// The address and the clients of one Redis, which share it in a process.
pub(super) struct Family {
    pub(super) address: Address,
    pub(super) clients: Mutex<Vec<Weak<Shared>>>,
}

/// A connection, by its number in the order in which they were made.
#[derive(Clone)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) connection: Connection,
}

#[derive(Default)]
struct Connections {
    made: u64,
    current: Option<Numbered>,
}

/// The state that the clones of one client share.
pub(super) struct Shared {
    pub(super) family: Arc<Family>,
    pub(super) limit: Duration,
    pub(super) longest_wait: Duration,
    connections: Mutex<Connections>,
    /// Held by the one that connects.
    connecting: tokio::sync::Mutex<()>,
    /// True while a ping finds out if the connection is alive.
    is_trying: AtomicBool,
    pub(super) circuit: Circuit,
    pub(super) condition: Condition,
}

impl Shared {
    pub(super) fn new(
        family: Arc<Family>,
        purpose: &'static str,
        limit: Duration,
        longest_wait: Duration,
    ) -> Self {
        Self {
            family,
            limit,
            longest_wait,
            connections: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            is_trying: AtomicBool::new(false),
            circuit: Circuit::default(),
            condition: Condition::new(purpose),
        }
    }

    /// Opens or closes the circuit after a failure, and gives the error for the caller.
    pub(super) fn failed(
        &self,
        operation: Option<&'static str>,
        number: u64,
        error: RedisError,
    ) -> Error {
        let fault = Fault::of(&error);
        match fault {
            // Whoever came first has opened the circuit; a newer connection may do well.
            Fault::Connection if !self.forget(number) => {}
            Fault::Connection | Fault::Server => self.circuit.open(),
            Fault::Permission | Fault::Call => self.circuit.close(),
        }
        if let Some(operation) = operation
            && !is_absence(&error)
        {
            self.condition.failed(operation, &error);
        }
        match fault {
            Fault::Call => Error::backend(error),
            _ => unavailable(error),
        }
    }

    /// The connection that there is, or a new one. That is made in a task of its own: it is made to
    /// the end when the caller stops waiting, and is there for the next.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Numbered, RedisError> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let shared = Arc::clone(self);
        let connecting = tokio::spawn(async move { shared.connect().await });
        let ended = connecting.await;
        ended.unwrap_or_else(|_| Err(failure("connecting was broken off")))
    }

    /// Makes a new connection, unless somebody else just did, or could not.
    async fn connect(&self) -> Result<Numbered, RedisError> {
        let failures = self.circuit.failures();
        let _turn = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if self.circuit.failures() != failures {
            return Err(failure("another call could not connect"));
        }
        let address = &self.family.address;
        let connecting = address.connect(self.limit + self.longest_wait);
        let connection = match within(CONNECT_LIMIT, connecting).await {
            Ok(connection) => connection,
            Err(error) => {
                self.circuit.open();
                return Err(error);
            }
        };
        self.circuit.close();
        let mut connections = lock(&self.connections);
        connections.made += 1;
        let number = connections.made;
        let numbered = Numbered { number, connection };
        connections.current = Some(numbered.clone());
        Ok(numbered)
    }

    /// Sends a ping on a connection, and gives it up when no answer comes.
    pub(super) fn try_connection(self: &Arc<Self>, number: u64) {
        let current = self.current().filter(|current| current.number == number);
        let (Some(current), Ok(runtime)) = (current, tokio::runtime::Handle::try_current()) else {
            return;
        };
        if self.is_trying.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(self);
        runtime.spawn(async move {
            let mut connection = current.connection;
            let ping = redis::cmd("PING");
            let pong = ping.query_async::<()>(&mut connection);
            if let Err(error) = within(shared.limit + shared.longest_wait, pong).await {
                shared.failed(Some("ping"), number, error);
            }
            shared.is_trying.store(false, Ordering::Relaxed);
        });
    }

    fn current(&self) -> Option<Numbered> {
        lock(&self.connections).current.clone()
    }

    /// Gives a connection up; true when it was the one in use.
    fn forget(&self, number: u64) -> bool {
        let mut connections = lock(&self.connections);
        let is_current = connections.current.as_ref().map(|c| c.number) == Some(number);
        if is_current {
            connections.current = None;
        }
        is_current
    }
}

/// Waits for an answer up to `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let answer = timeout(limit, answer).await;
    answer.unwrap_or_else(|_| Err(failure("no answer in time")))
}

pub(super) fn failure(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, what))
}

pub(super) fn unavailable(error: RedisError) -> Error {
    Error::Unavailable {
        source: Arc::new(error),
    }
}
