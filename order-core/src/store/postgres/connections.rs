//! The connections of a store: handed out, and taken back within a limit.
//!
//! The driver's pool asks a connection that comes back whether it still lives, for as long as
//! that takes. When the database or the network between falls silent without a reset, it would
//! wait for good, and the place of the connection in the pool would be lost. So every connection
//! is handed out in a [`PooledConnection`], which closes it when the answer does not come.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{PgConnection, PgPool, Postgres, Transaction, pool::PoolConnection};
use tokio::{runtime::Handle, time::timeout};

use crate::error::Error;

/// How long a connection that comes back may take to say that it lives.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Connections to one database.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    pool: PgPool,
}

impl Connections {
    /// The connections of `pool`.
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The driver's pool. A connection that is taken from it directly comes back without a limit.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection, for as long as the value lives.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is free, or none can be made, in time.
    pub(crate) async fn acquire(&self) -> Result<PooledConnection, Error> {
        Ok(PooledConnection {
            inner: self.pool.acquire().await?,
        })
    }
}

/// A connection that goes back when it is dropped.
pub(crate) struct PooledConnection {
    inner: PoolConnection<Postgres>,
}

impl PooledConnection {
    /// Begins a transaction, which is rolled back when it is dropped before its commit.
    ///
    /// # Errors
    /// When the database does not begin one.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, Error> {
        Ok(sqlx::Connection::begin(&mut *self.inner).await?)
    }
}

impl Drop for PooledConnection {
    /// Dropped before it is done, the way back closes the connection and frees its place.
    fn drop(&mut self) {
        let returned = self.inner.return_to_pool();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if timeout(RELEASE_LIMIT, returned).await.is_err() {
                    tracing::warn!("a connection to the database is silent, and was closed");
                }
            });
        }
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection").finish_non_exhaustive()
    }
}
