//! Opening the database that a URL names.

use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::sql::PostgresStore;
#[cfg(feature = "sqlite")]
use super::sql::SqliteStore;
use super::{connect_options::ConnectOptions, database::Store};
use crate::error::Error;

/// Connects to the database that `url` names: `postgres://…` or `sqlite://path`, a file that is
/// made when it is not there. Nothing is migrated yet.
///
/// # Errors
/// [`Error::Invalid`] that names `database_url`, also when this build has not got the feature of
/// that database; [`Error::Unavailable`] or [`Error::Backend`].
pub async fn connect(url: &str) -> Result<Arc<dyn Store>, Error> {
    connect_with(url, ConnectOptions::default()).await
}

/// The same, otherwise than usual.
///
/// # Errors
/// As [`connect`]; [`Error::Invalid`] also when it names an option, or `database_url` because there
/// is no such file and none is to be made.
pub async fn connect_with(url: &str, options: ConnectOptions) -> Result<Arc<dyn Store>, Error> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => postgres(url, options).await,
        Some(("sqlite", _)) => sqlite(url, options).await,
        _ => Err(Error::invalid(
            "database_url",
            "must start with postgres:// or sqlite://",
        )),
    }
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str, options: ConnectOptions) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(PostgresStore::connect_with(url, options).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str, _: ConnectOptions) -> Result<Arc<dyn Store>, Error> {
    Err(not_built("Postgres", "postgres"))
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str, options: ConnectOptions) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(SqliteStore::connect_with(url, options).await?))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &str, _: ConnectOptions) -> Result<Arc<dyn Store>, Error> {
    Err(not_built("SQLite", "sqlite"))
}

#[cfg(any(test, not(all(feature = "postgres", feature = "sqlite"))))]
fn not_built(database: &str, feature: &str) -> Error {
    let reason =
        format!("names a {database} database: turn on the feature `{feature}` of order-core");
    Error::invalid("database_url", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_was_not_built_is_answered_with_its_feature() {
        assert_eq!(
            not_built("Postgres", "postgres").to_string(),
            "database_url names a Postgres database: turn on the feature `postgres` of order-core"
        );
    }
}
