//! Opening the database that a URL names.

use std::sync::Arc;

use super::{
    database::Store,
    sql::{PostgresOptions, PostgresStore, SqliteStore},
};
use crate::error::Error;

/// Connects to the database that `url` names: `postgres://…` or `sqlite://path`, a file that is
/// made when it is not there. Nothing is migrated yet.
///
/// # Errors
/// [`Error::Invalid`] that names `database_url`, [`Error::Unavailable`] or [`Error::Backend`].
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, Error> {
    open(url, false).await
}

/// The same for a process that only reads: makes no file.
///
/// # Errors
/// As [`connect`]; [`Error::Invalid`] also when there is no such file.
pub async fn connect_existing(url: &str) -> Result<Arc<dyn Store>, Error> {
    open(url, true).await
}

async fn open(url: &str, is_there: bool) -> Result<Arc<dyn Store>, Error> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(
            PostgresStore::connect(url, PostgresOptions::default()).await?,
        )),
        Some(("sqlite", _)) => {
            let store = if is_there {
                SqliteStore::connect_existing(url).await?
            } else {
                SqliteStore::connect(url).await?
            };
            Ok(Arc::new(store))
        }
        _ => Err(Error::invalid(
            "database_url",
            "must start with postgres:// or sqlite://",
        )),
    }
}
