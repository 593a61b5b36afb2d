//! Free text with a bound.

use super::ValidationError;

/// `value` when it has `min..=max` characters (Unicode scalar values, as both databases
/// count them) and no NUL, which Postgres cannot store.
pub(crate) fn bounded(
    field: &'static str,
    value: String,
    min: usize,
    max: usize,
) -> Result<String, ValidationError> {
    let length = value.chars().count();
    if length < min || length > max {
        return Err(ValidationError::new(
            field,
            format!("must have {min} to {max} characters"),
        ));
    }
    if value.contains('\0') {
        return Err(ValidationError::new(
            field,
            "must not contain a NUL character",
        ));
    }
    Ok(value)
}
