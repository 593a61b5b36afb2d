//! The meaning of errors of the drivers to a caller. Each database classifies its own errors.

use std::sync::Arc;

use sqlx::{postgres::PgDatabaseError, sqlite::SqliteError};

use super::{error_class::ErrorClass, postgres, sqlite};
use crate::error::Error;

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
