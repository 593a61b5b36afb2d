//! Times by the clock of the machine, which all who open the file are on.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::sql::value::span_micros;

/// The time `span` after `time`.
pub(super) fn after(time: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    time + TimeDelta::microseconds(span_micros(span))
}

/// The time `span` before `time`.
pub(super) fn before(time: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    time - TimeDelta::microseconds(span_micros(span))
}
