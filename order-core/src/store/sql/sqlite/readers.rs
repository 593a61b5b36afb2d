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
        let pool = SqlitePoolOptions::new()
            .max_connections(options.max_connections.unwrap_or(READERS))
            .acquire_timeout(options.acquire_timeout)
            // Whoever gets one speaks to it at once, to set its limit.
            .test_before_acquire(false)
            .connect_lazy_with(connect.clone());
        Self {
            pool,
            options: connect,
            file,
            meter,
            limit: options.read_limit,
        }
    }

    /// A connection for as long as a request may read: what takes longer is interrupted, so
    /// that nobody keeps others from reading for good, whoever still waits for the answer.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, Error> {
        self.file.check()?;
        let mut connection = self.pool.acquire().await?;
        self.meter.limit(&mut connection, self.limit).await?;
        Ok(connection)
    }

    /// A connection of its own without a limit, for what reads everything.
    pub(super) async fn apart(&self) -> Result<SqliteConnection, Error> {
        self.file.check()?;
        Ok(self.options.connect().await?)
    }

    /// Closes the connections, as soon as nobody reads.
    pub(super) async fn close(&self) {
        let _ = timeout(self.limit, self.pool.close()).await;
    }

    pub(super) const fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}
