//! The topics of a queue.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::domain::ValidationError;

/// The work that is to be done with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Its decision.
    Validate,
    /// Its post-sale task.
    Process,
}

impl Topic {
    /// Both topics.
    pub const ALL: [Self; 2] = [Self::Validate, Self::Process];

    /// Its name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Process => "process",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Topic {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.as_str() == text)
            .ok_or_else(|| ValidationError::new("topic", "must be validate or process"))
    }
}
