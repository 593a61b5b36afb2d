//! The connections that read, each from the snapshot that its statement started with. They
//! make no file, and change none.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::time::timeout;

use super::{file::DatabaseFile, meter::Meter};
use crate::{error::Error, store::connect_options::ConnectOptions};

/// The most connections, unless it is given.
const READERS: u32 = 4;

/// Gives out the connections that read.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pool: SqlitePool,
    /// One connection for the keys of callers.
    keys: SqlitePool,
    options: SqliteConnectOptions,
    file: Arc<DatabaseFile>,
    meter: Meter,
    limit: Duration,
}

impl Readers {
    /// Connections to a file that is there, each for no longer than `read_limit` at a time.
    pub(super) fn new(
        connect: SqliteConnectOptions,
        file: Arc<DatabaseFile>,
        meter: Meter,
        options: &ConnectOptions,
    ) -> Self {
        let connect = connect.create_if_missing(false).read_only(true);
        let pool = |most| {
            SqlitePoolOptions::new()
                .max_connections(most)
                .acquire_timeout(options.acquire_timeout)
                // Whoever gets one speaks to it at once, to set its limit.
                .test_before_acquire(false)
                .connect_lazy_with(connect.clone())
        };
        Self {
            pool: pool(options.max_connections.unwrap_or(READERS)),
            keys: pool(1),
            options: connect,
            file,
            meter,
            limit: options.read_limit,
        }
    }

    /// A connection for as long as a request may read: what takes longer is interrupted, so
    /// that nobody keeps others from reading for good, whoever still waits for the answer.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.acquire_from(&self.pool).await
    }

    /// The connection for keys.
    pub(crate) async fn acquire_for_keys(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.acquire_from(&self.keys).await
    }

    async fn acquire_from(&self, pool: &SqlitePool) -> Result<PoolConnection<Sqlite>, Error> {
        self.file.check()?;
        let mut connection = pool.acquire().await?;
        self.meter.limit(&mut connection, self.limit).await?;
        Ok(connection)
    }

    /// The most reads at once.
    pub(super) fn most_reads(&self) -> u32 {
        self.pool.options().get_max_connections()
    }

    /// A connection of its own without a limit, for what reads everything.
    pub(super) async fn apart(&self) -> Result<SqliteConnection, Error> {
        self.file.check()?;
        Ok(self.options.connect().await?)
    }

    /// Closes the connections, as soon as nobody reads.
    pub(super) async fn close(&self) {
        let closed = futures_util::future::join(self.pool.close(), self.keys.close());
        let _ = timeout(self.limit, closed).await;
    }

    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}
