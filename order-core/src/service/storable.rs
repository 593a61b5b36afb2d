//! Texts of queries.

use crate::error::Error;

/// Refuses a text that no database could have stored, and Postgres cannot look for.
pub(super) fn storable(field: &'static str, text: Option<&str>) -> Result<(), Error> {
    if text.is_some_and(|text| text.contains('\0')) {
        return Err(Error::invalid(field, "must not contain a NUL character"));
    }
    Ok(())
}
