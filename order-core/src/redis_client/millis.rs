//! Lengths of time as Redis takes them.

use std::time::Duration;

/// A length of time in milliseconds, up to a century: Redis can add it to any time of ours.
pub(crate) fn millis(duration: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_hours(24 * 36_525);
    i64::try_from(duration.min(CENTURY).as_millis()).unwrap_or(i64::MAX)
}
