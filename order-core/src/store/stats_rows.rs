//! Rows of tallies and of what else operators ask for, for both databases.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::{StoredTime, age, span_micros};
use crate::{
    domain::OrderId,
    error::Error,
    stats::{FULL_RESOLUTION, OrderCounters, OrderCounts, Second, Wait, Waiting},
};

/// The most lines of the newest orders that are looked at.
pub(super) const HOT_LINES: i64 = 5_000;

/// How far back each kind of row reaches, and the span of the next: details, then minutes for
/// a day, then hours for a month, then days.
const REACHES_SECS: [(i64, i64); 3] = [
    (FULL_RESOLUTION.as_secs().cast_signed(), 60),
    (86_400, 3_600),
    (30 * 86_400, 86_400),
];

/// The first second of the span that a row stands for once it is as old as it is: as SQL over
/// `at`, given the age limits as the parameters `$detailed`, `$minutes` and `$hours`.
macro_rules! span {
    ($detailed:literal, $minutes:literal, $hours:literal) => {
        concat!(
            "CASE WHEN at >= ",
            $detailed,
            " THEN at WHEN at >= ",
            $minutes,
            " THEN at - at % 60 WHEN at >= ",
            $hours,
            " THEN at - at % 3600 ELSE at - at % 86400 END"
        )
    };
}
pub(super) use span;

/// The sums of a group of tallies, in the order of the columns.
macro_rules! sums {
    () => {
        "CAST(sum(accepted) AS bigint) AS accepted, CAST(sum(sold) AS bigint) AS sold, \
         CAST(sum(failed) AS bigint) AS failed, CAST(sum(completed) AS bigint) AS completed, \
         CAST(sum(cancelled) AS bigint) AS cancelled, CAST(sum(returned) AS bigint) AS returned, \
         max(max_wait_us) AS max_wait_us, CAST(sum(waited) AS bigint) AS waited, \
         CAST(sum(waited_us) AS bigint) AS waited_us"
    };
}
pub(super) use sums;

/// A time, as far ahead of `now` as there are times.
pub(super) fn later(now: DateTime<Utc>, ahead: Duration) -> DateTime<Utc> {
    let micros = now.timestamp_micros().saturating_add(span_micros(ahead));
    DateTime::from_timestamp_micros(micros).unwrap_or(now)
}

/// Where details, minutes and hours begin, as seconds since 1970, if it is `at`. Each begins
/// with a span of the next, so that no span is cut in two: its first second is in it.
pub(super) fn ages(at: DateTime<Utc>) -> [i64; 3] {
    REACHES_SECS.map(|(reach, span)| {
        let begin = at.timestamp() - reach;
        begin - begin.rem_euclid(span)
    })
}

/// The sums of one second, or of all that was before.
#[derive(FromRow)]
pub(super) struct TallyRow {
    now: i64,
    second: Option<i64>,
    accepted: Option<i64>,
    sold: Option<i64>,
    failed: Option<i64>,
    completed: Option<i64>,
    cancelled: Option<i64>,
    returned: Option<i64>,
    max_wait_us: Option<i64>,
    waited: Option<i64>,
    waited_us: Option<i64>,
}

impl TallyRow {
    fn counts(&self) -> OrderCounts {
        let count = |sum: Option<i64>| sum.unwrap_or_default().unsigned_abs();
        OrderCounts {
            accepted: count(self.accepted),
            sold: count(self.sold),
            failed: count(self.failed),
            completed: count(self.completed),
            cancelled: count(self.cancelled),
            returned: count(self.returned),
        }
    }

    fn second(&self) -> Result<Option<Second>, Error> {
        let Some(second) = self.second else {
            return Ok(None);
        };
        let sum = |sum: Option<i64>| sum.unwrap_or_default().unsigned_abs();
        let (waited, longest_us) = (sum(self.waited), sum(self.max_wait_us));
        Ok(Some(Second {
            at: time(second)?,
            counts: self.counts(),
            mean_wait: sum(self.waited_us)
                .checked_div(waited)
                .map(Duration::from_micros),
            longest_wait: (waited > 0).then(|| Duration::from_micros(longest_us)),
        }))
    }
}

/// Puts the rows together; the database gives at least one.
pub(super) fn counters(rows: &[TallyRow]) -> Result<OrderCounters, Error> {
    let now = rows.first().map(|row| row.now);
    let mut totals = OrderCounts::default();
    let mut seconds = Vec::with_capacity(rows.len());
    for row in rows {
        totals += row.counts();
        seconds.extend(row.second()?);
    }
    seconds.sort_unstable_by_key(|second| second.at);
    Ok(OrderCounters {
        at: time(now.ok_or_else(|| Error::corrupt("the database told no time"))?)?,
        totals,
        seconds,
    })
}

fn time(second: i64) -> Result<DateTime<Utc>, Error> {
    DateTime::from_timestamp(second, 0).ok_or_else(|| Error::corrupt("time out of range"))
}

/// A window in whole seconds, as far as there are any.
pub(super) fn window_secs(window: Duration) -> i64 {
    window.min(FULL_RESOLUTION).as_secs().cast_signed()
}

/// An order that has been pending for so many microseconds.
pub(super) fn waiting((id, pending_us): (Uuid, i64)) -> Waiting {
    Waiting {
        id: OrderId(id),
        age: age(pending_us),
    }
}

pub(super) fn waits<T: StoredTime>(rows: Vec<(T, T)>) -> Result<Vec<Wait>, Error> {
    rows.into_iter()
        .map(|(since, until)| {
            Ok(Wait {
                since: since.time()?,
                until: until.time()?,
            })
        })
        .collect()
}
