//! The meaning of errors of `SQLite`.

use sqlx::{
    error::{DatabaseError, ErrorKind},
    sqlite::SqliteError,
};

use super::file::Replaced;
use crate::{
    error::Error,
    store::sql::error_class::{self, ErrorClass, driver_error},
};

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;

/// Classifies an error. `SQLite` names table and column of a duplicate in its message, and nothing
/// else. What is transient: that another has its turn, that the disk or what it is mounted as does
/// not do what is asked of it, and that a statement was interrupted.
pub(in crate::store::sql) fn classify(error: &SqliteError) -> ErrorClass {
    if error.kind() == ErrorKind::UniqueViolation {
        let column = error.message().rsplit_once('.').map(|(_, column)| column);
        match column {
            Some("sku") => return ErrorClass::SkuTaken,
            Some("id") => return ErrorClass::IdTaken,
            Some("key") => return ErrorClass::KeyTaken,
            _ => {}
        }
    }
    let transient = [BUSY, LOCKED, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN];
    if primary_code(error).is_some_and(|code| transient.contains(&code)) {
        ErrorClass::Transient
    } else {
        ErrorClass::Permanent
    }
}

/// The error of a commit that failed. When `SQLite` could not write all, or did not get its turn,
/// nothing was committed. When it could not sync what it wrote, nobody knows what a crash would
/// leave of it.
pub(super) fn on_commit(error: sqlx::Error) -> Error {
    let is_aborted = has_code(&error, &[BUSY, FULL]);
    error_class::on_commit(error.into(), is_aborted)
}

/// Tells whether there is no use in trying again: the writer was waited for long enough, by us or by
/// the database when another process had it, or the file was replaced.
pub(super) fn is_conclusive(error: &Error) -> bool {
    let Error::Unavailable { source } = error else {
        return false;
    };
    source.is::<Replaced>()
        || driver_error(error).is_some_and(|error| {
            matches!(error, sqlx::Error::PoolTimedOut) || has_code(error, &[BUSY])
        })
}

/// Tells whether another connection had the file.
pub(super) fn is_busy(error: &Error) -> bool {
    driver_error(error).is_some_and(|error| has_code(error, &[BUSY]))
}

fn has_code(error: &sqlx::Error, codes: &[i32]) -> bool {
    let sqlx::Error::Database(database) = error else {
        return false;
    };
    let code = database.try_downcast_ref().and_then(primary_code);
    code.is_some_and(|code| codes.contains(&code))
}

/// The low byte of a code.
fn primary_code(error: &SqliteError) -> Option<i32> {
    let code: i32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}
