//! Bringing the schema up to date: on a connection of its own, with all the time that it takes.

use std::time::{Duration, Instant};

use sqlx::{
    Connection, PgConnection,
    migrate::{Migrate, MigrateError, Migrator},
    query_scalar, raw_sql,
};
use tokio::time::timeout;

use super::{error::LOCK_NOT_AVAILABLE, session::Sessions};
use crate::{
    error::Error,
    store::{migration::Migration, sql::migrations},
};

/// The time that migrating may take, and waiting for another process that migrates.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// The time between two messages of a process that waits for another.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// While it waits for another process, each question is a statement of its own: an open one would
/// hold up an index that the other makes without a lock.
const WHILE_WAITING: &str = "SET statement_timeout = 0; SET lock_timeout = '1s'";
/// A migration that waits for a table holds up everybody who comes after.
const WHILE_MIGRATING: &str = "SET lock_timeout = '10s'";

/// Applies what is missing. When several processes do, one does the work, and the others wait.
///
/// # Errors
/// [`Error::Unavailable`]; [`Error::Backend`] when a migration fails, or the schema is newer.
pub(super) async fn run(sessions: &Sessions) -> Result<(), Error> {
    let mut connection = sessions.open().await?;
    let migrated = timeout(LIMIT, apply(sessions, &mut connection)).await;
    // The lock goes with the connection.
    let _ = timeout(Duration::from_secs(1), connection.close()).await;
    migrated.unwrap_or_else(|elapsed| Err(Error::backend(elapsed)))
}

async fn apply(sessions: &Sessions, connection: &mut PgConnection) -> Result<(), Error> {
    raw_sql(WHILE_WAITING).execute(&mut *connection).await?;
    lock(connection).await?;
    sessions.make_schema(connection).await?;
    raw_sql(WHILE_MIGRATING).execute(&mut *connection).await?;
    let mut migrator = migrator();
    migrator.set_locking(false);
    migrator.run_direct(None, connection, false).await?;
    Ok(())
}

fn migrator() -> Migrator {
    sqlx::migrate!("./migrations/postgres")
}

/// The migrations, and whether they are applied.
pub(super) async fn status(sessions: &Sessions) -> Result<Vec<Migration>, Error> {
    let mut connection = sessions.open().await?;
    let is_begun = query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(migrations::TABLE);
    let is_begun: bool = is_begun.fetch_one(&mut connection).await?;
    let migrations = migrations::compare(&migrator(), &mut connection, is_begun).await;
    let _ = timeout(Duration::from_secs(1), connection.close()).await;
    migrations
}

/// Waits until no other process migrates.
async fn lock(connection: &mut PgConnection) -> Result<(), Error> {
    let mut said_at: Option<Instant> = None;
    loop {
        match connection.lock().await {
            Err(MigrateError::Execute(sqlx::Error::Database(error)))
                if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => {}
            locked => return Ok(locked?),
        }
        if said_at.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            tracing::info!("another process is migrating the database: waiting for it");
            said_at = Some(Instant::now());
        }
    }
}
