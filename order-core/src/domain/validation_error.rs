//! The refusal of a value that is out of its bounds.

use std::borrow::Cow;

/// A value is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
#[non_exhaustive]
pub struct ValidationError {
    /// The field, as it is named on the wire.
    pub field: Cow<'static, str>,
    /// The reason, which reads on after the field.
    pub reason: Cow<'static, str>,
}

impl ValidationError {
    /// A refusal of `field` for `reason`.
    pub fn new(field: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}
