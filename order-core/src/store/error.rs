//! From what the driver says to what a caller can act on.

use std::sync::Arc;

use tokio::time::error::Elapsed;

use sqlx::{
    error::{DatabaseError, ErrorKind},
    postgres::{PgDatabaseError, PgSeverity},
    sqlite::SqliteError,
};

use crate::error::Error;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                if is_unique_violation_of(database.as_ref(), "sku") {
                    return Self::SkuTaken;
                }
                if is_unique_violation_of(database.as_ref(), "id") {
                    // Our ids are ours: one that is there was put there by this very call,
                    // in an attempt whose outcome did not reach us.
                    return unknown(error);
                }
                if is_unique_violation_of(database.as_ref(), "key") {
                    // Another transaction kept it since we looked: the next attempt finds it.
                    return unavailable(error);
                }
                if is_transient(database.as_ref()) {
                    return unavailable(error);
                }
                Self::backend(error)
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => unavailable(error),
            _ => Self::backend(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::backend(error)
    }
}

/// What the failure of a commit means (or of a statement that commits by itself): when the
/// connection went, it may have happened. An error of a session that goes on says that it did not;
/// so does `SQLite` when it could not write all, or did not get its turn. When it could not sync
/// what it wrote, nobody knows what a crash would leave of it.
pub(super) fn on_commit(error: sqlx::Error) -> Error {
    let aborted = matches!(&error, sqlx::Error::Database(database)
        if (database.try_downcast_ref::<PgDatabaseError>().is_some()
            && !ended_the_session(database.as_ref()))
            || sqlite_class(database.as_ref())
                .is_some_and(|class| [SQLITE_BUSY, SQLITE_FULL].contains(&class)));
    match Error::from(error) {
        Error::Unavailable { source } if !aborted => Error::OutcomeUnknown { source },
        other => other,
    }
}

/// Whether an error says that the connection it came from is gone, silent, or leads to where
/// nothing can be written: the others of its pool may be no better.
pub(super) fn casts_doubt(error: &Error) -> bool {
    let (Error::Unavailable { source } | Error::OutcomeUnknown { source }) = error else {
        return false;
    };
    match source.downcast_ref() {
        Some(sqlx::Error::Database(database)) => {
            database.code().as_deref() == Some(READ_ONLY) || ended_the_session(database.as_ref())
        }
        Some(error) => !matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed),
        None => source.is::<Elapsed>(),
    }
}

/// Whether an error of Postgres ended the session: `FATAL` or `PANIC`, whatever its code is.
fn ended_the_session(error: &dyn DatabaseError) -> bool {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// In the middle of a failover, we are still connected to what is now a replica.
const READ_ONLY: &str = "25006";

/// Whether Postgres gave up waiting for a lock: the session goes on, and nothing was done.
pub(super) fn is_lock_timeout(error: &Error) -> bool {
    lock_timeout(error).is_some()
}

/// Whether that was for the key of a request, which another transaction inserted and did not
/// commit. The context of the error names what the row belongs to.
pub(super) fn waits_for_key(error: &Error) -> bool {
    lock_timeout(error)
        .and_then(PgDatabaseError::r#where)
        .is_some_and(|context| context.contains("idempotency_keys"))
}

/// Whether that was for a row, and not for a table.
pub(super) fn waits_for_row(error: &Error) -> bool {
    lock_timeout(error)
        .and_then(PgDatabaseError::r#where)
        .is_some()
}

fn lock_timeout(error: &Error) -> Option<&PgDatabaseError> {
    let Error::Unavailable { source } = error else {
        return None;
    };
    match source.downcast_ref() {
        Some(sqlx::Error::Database(database)) => database
            .try_downcast_ref::<PgDatabaseError>()
            .filter(|error| error.code() == LOCK_NOT_AVAILABLE),
        _ => None,
    }
}

const LOCK_NOT_AVAILABLE: &str = "55P03";

fn unavailable(error: sqlx::Error) -> Error {
    Error::Unavailable {
        source: Arc::new(error),
    }
}

fn unknown(error: sqlx::Error) -> Error {
    Error::OutcomeUnknown {
        source: Arc::new(error),
    }
}

/// Whether the unique index or key on `column` refused. Postgres names the constraint;
/// `SQLite` names table and column in its message, and nothing else.
fn is_unique_violation_of(error: &dyn DatabaseError, column: &str) -> bool {
    if error.kind() != ErrorKind::UniqueViolation {
        return false;
    }
    match (error.constraint(), column) {
        (Some(constraint), "sku") => constraint == "products_sku_unique",
        (Some(constraint), "key") => constraint == "idempotency_keys_pkey",
        (Some(constraint), _) => {
            matches!(
                constraint,
                "products_pkey"
                    | "orders_pkey"
                    | "order_lines_pkey"
                    | "stock_adjustments_pkey"
                    | "queue_entries_pkey"
            )
        }
        (None, column) => error.message().ends_with(&format!(".{column}")),
    }
}

/// What tells "not now". Postgres: the end of a session, the classes 08 (connection), 40 (rollback),
/// 53 (resources), 57P (shutdown, time-out of a session) and four single codes. `SQLite`: that
/// another has its turn, that the disk or what it is mounted as does not do what is asked of it, and
/// that a statement was interrupted.
fn is_transient(error: &dyn DatabaseError) -> bool {
    const IDLE_IN_TRANSACTION: &str = "25P03";
    const QUERY_CANCELED: &str = "57014";
    let Some(code) = error.code() else {
        return false;
    };
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        return ended_the_session(error)
            || ["08", "40", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class))
            || [
                LOCK_NOT_AVAILABLE,
                IDLE_IN_TRANSACTION,
                QUERY_CANCELED,
                READ_ONLY,
            ]
            .contains(&code.as_ref());
    }
    sqlite_class(error).is_some_and(|class| {
        [
            SQLITE_BUSY,
            SQLITE_LOCKED,
            SQLITE_READONLY,
            SQLITE_INTERRUPT,
            SQLITE_IOERR,
            SQLITE_FULL,
            SQLITE_CANTOPEN,
        ]
        .contains(&class)
    })
}

const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_READONLY: i32 = 8;
const SQLITE_INTERRUPT: i32 = 9;
const SQLITE_IOERR: i32 = 10;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;

/// The low byte of a `SQLite` code; `None` for another database's.
fn sqlite_class(error: &dyn DatabaseError) -> Option<i32> {
    error.try_downcast_ref::<SqliteError>()?;
    let code: i32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// Whether another process had the write lock for as long as anybody waits for it.
pub(super) fn is_sqlite_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database)
        if sqlite_class(database.as_ref()) == Some(SQLITE_BUSY))
}
