//! How many of a product an order line asks for.

use serde::Serialize;

use crate::error::Error;

/// A count of pieces, 1..=1 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(i64);

impl Quantity {
    /// The most that one line may ask for.
    pub const MAX: i64 = 1_000_000;

    /// # Errors
    /// [`Error::Invalid`] that names `quantity`, when out of 1..=1 000 000.
    pub fn new(count: i64) -> Result<Self, Error> {
        if (1..=Self::MAX).contains(&count) {
            Ok(Self(count))
        } else {
            Err(Error::invalid("quantity", "must be from 1 to 1000000"))
        }
    }

    /// The count of pieces.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}
