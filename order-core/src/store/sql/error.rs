//! The meaning of errors of the drivers to a caller. Each database classifies its own errors.

use std::sync::Arc;

use sqlx::error::DatabaseError;

use super::error_class::ErrorClass;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use crate::error::Error;

/// Not for others: the driver is no part of the API.
#[doc(hidden)]
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let class = match &error {
            sqlx::Error::Database(database) => classify(&**database),
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

fn classify(error: &dyn DatabaseError) -> ErrorClass {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref() {
        return postgres::classify(error);
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.try_downcast_ref() {
        return sqlite::classify(error);
    }
    ErrorClass::Permanent
}

/// Not for others, either.
#[doc(hidden)]
impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::backend(error)
    }
}
