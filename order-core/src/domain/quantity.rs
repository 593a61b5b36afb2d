//! The quantity of an order line.

use serde::Serialize;

use super::ValidationError;

/// A count of pieces, 1..=1 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(i64);

impl Quantity {
    /// The most that one line may ask for.
    pub const MAX: i64 = 1_000_000;

    /// # Errors
    /// [`ValidationError`] that names `quantity`, when out of 1..=1 000 000.
    pub fn new(count: i64) -> Result<Self, ValidationError> {
        if (1..=Self::MAX).contains(&count) {
            Ok(Self(count))
        } else {
            Err(ValidationError::new(
                "quantity",
                "must be from 1 to 1000000",
            ))
        }
    }

    /// The count of pieces.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}
