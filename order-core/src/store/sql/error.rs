//! The meaning of errors of the drivers to a caller. Each database classifies its own errors.

use std::sync::Arc;

use sqlx::{postgres::PgDatabaseError, sqlite::SqliteError};

use super::{postgres, sqlite};
use crate::error::Error;

/// The meaning of an error of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// Another living product has the sku.
    SkuTaken,
    /// A row with an id of ours is there already. This very call put it there, in an attempt whose
    /// outcome did not reach us.
    IdTaken,
    /// Another transaction inserted the key of a request since we looked: the next attempt finds it.
    KeyTaken,
    /// Not now.
    Transient,
    /// The database would refuse again.
    Permanent,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let class = match &error {
            sqlx::Error::Database(database) => {
                if let Some(error) = database.try_downcast_ref::<PgDatabaseError>() {
                    postgres::classify(error)
                } else if let Some(error) = database.try_downcast_ref::<SqliteError>() {
                    sqlite::classify(error)
                } else {
                    ErrorClass::Permanent
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => ErrorClass::Transient,
            _ => ErrorClass::Permanent,
        };
        match class {
            ErrorClass::SkuTaken => Self::SkuTaken,
            ErrorClass::IdTaken => Self::OutcomeUnknown {
                source: Arc::new(error),
            },
            ErrorClass::KeyTaken | ErrorClass::Transient => Self::Unavailable {
                source: Arc::new(error),
            },
            ErrorClass::Permanent => Self::backend(error),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::backend(error)
    }
}

/// The error of a commit that failed, or of a statement that commits by itself: it may have
/// happened, unless `is_aborted` says that it did not.
pub(super) fn on_commit(error: Error, is_aborted: bool) -> Error {
    match error {
        Error::Unavailable { source } if !is_aborted => Error::OutcomeUnknown { source },
        other => other,
    }
}

/// The error of the driver below an error that is transient, if there is one.
pub(super) fn driver_error(error: &Error) -> Option<&sqlx::Error> {
    match error {
        Error::Unavailable { source } | Error::OutcomeUnknown { source } => source.downcast_ref(),
        _ => None,
    }
}
