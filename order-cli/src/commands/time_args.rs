//! The argument of commands that look at a range of times.

use chrono::{DateTime, Utc};
use clap::Args;
use order_core::domain::TimeRange;

/// A range of times.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Times {
    /// Only what is of this time or later, such as 2026-11-27T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// Only what is of an earlier time
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
}

impl Times {
    pub(super) const fn range(self) -> TimeRange {
        TimeRange {
            from: self.since,
            until: self.until,
        }
    }
}
