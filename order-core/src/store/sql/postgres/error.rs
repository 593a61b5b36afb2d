//! The meaning of errors of Postgres.

use sqlx::{
    error::{DatabaseError, ErrorKind},
    postgres::{PgDatabaseError, PgSeverity},
};
use tokio::time::error::Elapsed;

use crate::{
    error::Error,
    store::sql::{
        backend::LockFailure,
        error_class::{self, ErrorClass, driver_error},
    },
};

/// Postgres gave up waiting for a lock: the session goes on, and nothing was done.
pub(super) const LOCK_NOT_AVAILABLE: &str = "55P03";
/// In the middle of a failover, we are still connected to what is now a replica.
const READ_ONLY: &str = "25006";
const IDLE_IN_TRANSACTION: &str = "25P03";
const QUERY_CANCELED: &str = "57014";
/// Connection, rollback, resources, and shutdown or time-out of a session.
const TRANSIENT_CLASSES: [&str; 4] = ["08", "40", "53", "57P"];
const TRANSIENT_CODES: [&str; 4] = [
    LOCK_NOT_AVAILABLE,
    IDLE_IN_TRANSACTION,
    QUERY_CANCELED,
    READ_ONLY,
];

/// Classifies an error. Postgres names the constraint that a row violates.
pub(in crate::store::sql) fn classify(error: &PgDatabaseError) -> ErrorClass {
    if error.kind() == ErrorKind::UniqueViolation {
        match error.constraint() {
            Some("products_sku_unique") => return ErrorClass::SkuTaken,
            Some("idempotency_keys_pkey") => return ErrorClass::KeyTaken,
            Some(
                "products_pkey"
                | "orders_pkey"
                | "order_lines_pkey"
                | "stock_adjustments_pkey"
                | "queue_entries_pkey",
            ) => return ErrorClass::IdTaken,
            _ => {}
        }
    }
    let code = error.code();
    let is_transient = ended_the_session(error)
        || TRANSIENT_CODES.contains(&code)
        || TRANSIENT_CLASSES
            .iter()
            .any(|class| code.starts_with(class));
    if is_transient {
        ErrorClass::Transient
    } else {
        ErrorClass::Permanent
    }
}

/// Tells whether what the driver met may be otherwise in a moment.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => postgres_error(error).is_some_and(|error| {
            TRANSIENT_CLASSES
                .iter()
                .any(|c| error.code().starts_with(c))
        }),
        other => !matches!(other, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)),
    }
}

/// The error of a commit that failed. An error of a session that goes on says that nothing was
/// committed; when the connection went, it may have happened.
pub(super) fn on_commit(error: Error) -> Error {
    let driver = driver_error(&error).and_then(postgres_error);
    let is_aborted = driver.is_some_and(|error| !ended_the_session(error));
    error_class::on_commit(error, is_aborted)
}

/// Tells whether an error says that the connection it came from is gone, silent, or leads to where
/// nothing can be written: the others of its pool may be no better.
pub(super) fn casts_doubt(error: &Error) -> bool {
    let (Error::Unavailable { source } | Error::OutcomeUnknown { source }) = error else {
        return false;
    };
    match source.downcast_ref() {
        Some(driver @ sqlx::Error::Database(_)) => postgres_error(driver)
            .is_some_and(|error| error.code() == READ_ONLY || ended_the_session(error)),
        Some(driver) => !matches!(driver, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed),
        None => source.is::<Elapsed>(),
    }
}

/// The lock that was waited for in vain. The context of the error names what a row belongs to.
pub(super) fn lock_failure(error: &Error) -> Option<LockFailure> {
    if !matches!(error, Error::Unavailable { .. }) {
        return None;
    }
    let error = postgres_error(driver_error(error)?)?;
    if error.code() != LOCK_NOT_AVAILABLE {
        return None;
    }
    Some(match error.r#where() {
        Some(context) if context.contains("idempotency_keys") => LockFailure::Key,
        Some(_) => LockFailure::Row,
        None => LockFailure::Other,
    })
}

fn postgres_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    match error {
        sqlx::Error::Database(database) => database.try_downcast_ref(),
        _ => None,
    }
}

/// Tells whether an error ended the session: `FATAL` or `PANIC`, whatever its code is.
fn ended_the_session(error: &PgDatabaseError) -> bool {
    matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
}
