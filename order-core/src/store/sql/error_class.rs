//! The kinds of errors that databases tell apart, and what an error means at a commit.

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
