//! Free text with a bound.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};

use super::ValidationError;

/// A text that a person types, and programs compare as it is written: without the space around
/// it, and with nothing in it that cannot be seen.
pub(crate) fn visible(
    field: &'static str,
    value: &str,
    min: usize,
    max: usize,
) -> Result<String, ValidationError> {
    let value = bounded(field, value.trim().to_owned(), min, max)?;
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let is_invisible = |c: char| c.is_control() || is_format(c) || ignorable.contains(c);
    if value.chars().any(is_invisible) {
        let reason = "must not contain invisible characters";
        return Err(ValidationError::new(field, reason));
    }
    Ok(value)
}

/// Characters that end a line or turn the direction of those around them.
fn is_format(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with its characters composed: what looks the same is the same.
pub(crate) fn composed(text: String) -> String {
    let normalizer = ComposingNormalizerBorrowed::new_nfc();
    if normalizer.is_normalized(&text) {
        return text;
    }
    normalizer.normalize(&text).into_owned()
}

/// `value` in the one form in which its characters are composed (NFC), when it has `min..=max` characters (Unicode scalar values, as both databases
/// count them) and no NUL, which Postgres cannot store.
pub(crate) fn bounded(
    field: &'static str,
    value: String,
    min: usize,
    max: usize,
) -> Result<String, ValidationError> {
    let value = composed(value);
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
