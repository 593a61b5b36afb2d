//! The client: one connection and one circuit for one purpose.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use redis::{Cmd, FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation};

use super::{
    abandoned::Abandoned,
    address::{Address, Connection},
    shared::{Family, Numbered, Shared, failure, unavailable, within},
};
use crate::{error::Error, sync::lock};

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
        let shared = Arc::new(Shared::new(family, purpose, limit, longest_wait));
        let mut clients = lock(&shared.family.clients);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&shared));
        drop(clients);
        Self { shared }
    }

    /// Succeeds when Redis answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), Error> {
        let wait = self.shared.longest_wait;
        self.waiting_command("ping", &redis::cmd("PING"), wait)
            .await
    }

    /// Succeeds when Redis answers, and did all that this process asked of it within the last
    /// seconds, the queue and the cache included.
    ///
    /// # Errors
    /// A text that names what Redis does not do, and the reason.
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

    /// True for a failure that says that a key holds something else than was expected. In the
    /// answer of a script, older servers put it into the text.
    pub(crate) fn is_wrong_type(error: &Error) -> bool {
        let Error::Backend { source } = error else {
            return false;
        };
        let error = source.downcast_ref::<RedisError>();
        error.is_some_and(|error| {
            error.to_string().contains("WRONGTYPE") || error.code() == Some("WRONGTYPE")
        })
    }

    /// The number of times that Redis failed to answer.
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
        let Numbered { number, connection } = match shared.connection().await {
            Ok(numbered) => numbered,
            Err(error) => {
                let operation = operation.unwrap_or("connect");
                shared.condition.failed(operation, &error);
                return Err(unavailable(error));
            }
        };
        let abandoned = Abandoned::new(shared, number);
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
            Err(error) => Err(shared.failed(operation, number, error)),
        }
    }
}
