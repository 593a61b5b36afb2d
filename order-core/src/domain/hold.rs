//! The time for which an order keeps its stock before it is confirmed.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::ValidationError;

/// The length of a hold, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HoldTime(u32);

impl HoldTime {
    /// The longest hold, all its extensions included: a day.
    pub const MAX_SECONDS: u32 = 86_400;

    /// # Errors
    /// [`ValidationError`] that names `hold_seconds`, when it is not 1..=86 400.
    pub fn new(seconds: i64) -> Result<Self, ValidationError> {
        u32::try_from(seconds)
            .ok()
            .filter(|seconds| (1..=Self::MAX_SECONDS).contains(seconds))
            .map(Self)
            .ok_or_else(|| ValidationError::new("hold_seconds", "must be from 1 to 86400"))
    }

    /// Its seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// The time at which a hold ends that begins at `from`.
    #[must_use]
    pub fn after(self, from: DateTime<Utc>) -> DateTime<Utc> {
        from + TimeDelta::seconds(i64::from(self.0))
    }

    /// The latest time up to which a hold that began at `held_at` may be extended.
    #[must_use]
    pub fn latest(held_at: DateTime<Utc>) -> DateTime<Utc> {
        Self(Self::MAX_SECONDS).after(held_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_takes_from_a_second_to_a_day() {
        for (seconds, is_good) in [(-1, false), (0, false), (1, true), (86_400, true)] {
            assert_eq!(HoldTime::new(seconds).is_ok(), is_good, "{seconds}");
        }
        for seconds in [86_401, i64::MAX] {
            assert_eq!(HoldTime::new(seconds).unwrap_err().field, "hold_seconds");
        }
    }
}
