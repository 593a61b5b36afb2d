//! A place to measure in, beside the data of an operator's own database: a schema in
//! Postgres, a file next to the one of `SQLite`. It is empty at first and removed at the end.

use std::{fmt, path::PathBuf, sync::Arc};

use sqlx::{AssertSqlSafe, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use super::limit::Limit;
#[cfg(doc)]
use super::runner::Bench;
use crate::{
    clock::{Clock, SystemClock},
    domain::IdGenerator,
    error::Error,
    store::{ConnectOptions, PostgresStore, SqliteStore, Store},
};

/// Enough for the most tasks that a contestant has.
const CONNECTIONS: u32 = 40;

/// A database to measure in.
pub struct Sandbox {
    /// Migrated and empty. On Postgres, with connections enough for every contestant.
    pub store: Arc<dyn Store>,
    place: Place,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").finish_non_exhaustive()
    }
}

enum Place {
    Schema {
        store: PostgresStore,
        name: String,
        url: String,
    },
    File {
        path: PathBuf,
    },
}

impl Sandbox {
    /// Makes one on the database that `url` names.
    ///
    /// # Errors
    /// As connecting to it does; when it may not be made there.
    pub async fn create(url: &str) -> Result<Self, Error> {
        let id = IdGenerator::default().next(SystemClock.now());
        if url.starts_with("sqlite:") {
            return Self::file(url, id).await;
        }
        let name = format!("orders_bench_{}", id.simple());
        let store = connect(url, &name, CONNECTIONS).await?;
        store.migrate().await?;
        Ok(Self {
            store: Arc::new(store.clone()),
            place: Place::Schema {
                store,
                name,
                url: url.to_owned(),
            },
        })
    }

    /// The same place through so many connections: what [`Bench::with_sized`] wants.
    ///
    /// # Errors
    /// As connecting to the database.
    pub async fn sized(&self, connections: usize) -> Result<Arc<dyn Store>, Error> {
        match &self.place {
            Place::Schema { url, name, .. } => {
                let connections = u32::try_from(connections).unwrap_or(CONNECTIONS);
                Ok(Arc::new(connect(url, name, connections).await?))
            }
            // One writer is all there is.
            Place::File { .. } => Ok(Arc::clone(&self.store)),
        }
    }

    async fn file(url: &str, id: Uuid) -> Result<Self, Error> {
        let options: SqliteConnectOptions = url
            .parse()
            .map_err(|_| Error::invalid("database_url", "is not a SQLite URL"))?;
        let name = format!("orders-bench-{}.db", id.simple());
        let path = options.get_filename().with_file_name(name);
        let store = SqliteStore::connect(&format!("sqlite://{}", path.display())).await?;
        store.migrate().await?;
        Ok(Self {
            store: Arc::new(store),
            place: Place::File { path },
        })
    }

    /// The bare driver in the same place; Postgres only.
    #[must_use]
    pub fn limit(&self) -> Option<Limit> {
        match &self.place {
            Place::Schema { store, .. } => Some(Limit::new(store)),
            Place::File { .. } => None,
        }
    }

    /// Removes it, with all that is in it.
    ///
    /// # Errors
    /// When the database refuses; names what is left.
    pub async fn remove(self) -> Result<(), Error> {
        match self.place {
            Place::Schema { store, name, .. } => {
                sqlx::query(AssertSqlSafe(format!("DROP SCHEMA {name} CASCADE")))
                    .execute(store.pool())
                    .await?;
            }
            Place::File { path } => {
                drop(self.store);
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = path.clone().into_os_string();
                    file.push(suffix);
                    // The two beside it are there only while it is open.
                    let _ = std::fs::remove_file(file);
                }
            }
        }
        Ok(())
    }
}

async fn connect(url: &str, schema: &str, connections: u32) -> Result<PostgresStore, Error> {
    let options = ConnectOptions::default()
        .with_max_connections(connections)
        .with_schema(schema);
    PostgresStore::connect_with(url, options).await
}
