//! Checks of a database when a store is opened.

use sqlx::{ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions, raw_sql};

use super::connections::Connections;
use crate::error::Error;

/// The number of times that two sessions are compared: a busy pooler gives them different servers now and then.
const ROUNDS: usize = 5;

/// Refuses a database that cannot be worked with, and says what to do about it.
///
/// # Errors
/// [`Error::Invalid`] that names `database_url`; [`Error::Unavailable`].
pub(super) async fn check(
    connections: &Connections,
    connect: &PgConnectOptions,
) -> Result<(), Error> {
    let mut pooled = connections.acquire().await?;
    check_encoding(&mut pooled).await?;
    let mut other = connect.connect().await?;
    let is_shared = share_a_server(&mut pooled, &mut other).await?;
    let _ = other.close().await;
    if is_shared {
        return Err(Error::invalid(
            "database_url",
            "leads to a pooler that changes the server between transactions, where the settings \
             of a session and what it has prepared are lost: set pool_mode = session for this \
             database in pgbouncer, or connect to Postgres directly",
        ));
    }
    Ok(())
}

/// Names and references are Unicode, and not everything of it is in other encodings.
async fn check_encoding(connection: &mut PgConnection) -> Result<(), Error> {
    let row = raw_sql("SELECT current_setting('server_encoding')")
        .fetch_one(connection)
        .await?;
    let encoding: String = row.try_get(0)?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Error::invalid(
        "database_url",
        format!(
            "names a database with the encoding {encoding}: make one with CREATE DATABASE … \
             ENCODING 'UTF8' TEMPLATE template0, and move what there is by pg_dump"
        ),
    ))
}

/// Tells whether two sessions, open at the same time, share a server process: then they are
/// none, and a pooler gives the process to whoever has a transaction.
async fn share_a_server(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, Error> {
    let (mine, theirs) = (server(one).await?, server(other).await?);
    if mine == theirs {
        return Ok(true);
    }
    for _ in 1..ROUNDS {
        if server(one).await? != mine || server(other).await? != theirs {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn server(connection: &mut PgConnection) -> Result<i32, Error> {
    let row = raw_sql("SELECT pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}
