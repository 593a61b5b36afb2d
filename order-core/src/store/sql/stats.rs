//! Figures for operators.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    backend::{SqlBackend, SqlConnection},
    decide::ClaimSteps,
    retry::{reading, with_retry},
    rows::ProductRow,
    value::{StoredTime, Value, age, span_micros},
};
use crate::{
    domain::{OrderId, Product},
    error::Error,
    stats::{
        FULL_RESOLUTION, HotProduct, OrderCounters, OrderCounts, Second, StatsStore, Wait, Waiting,
    },
};

/// The way in which a database keeps counters few.
#[async_trait]
pub(crate) trait StatsSteps: ClaimSteps {
    /// Makes few rows of counters out of many, as if it were `ahead` later; gives the number of rows
    /// that were replaced.
    async fn compact(&self, ahead: Duration) -> Result<u64, Error>;
}

const WAITS: &str = "SELECT created_at, decided_at
     FROM (SELECT created_at, decided_at FROM orders WHERE id < $1 ORDER BY id DESC LIMIT $2) newest
     WHERE decided_at <> created_at";

/// The most lines of the newest orders that are read.
const HOT_LINES: i64 = 5_000;

/// The age up to which each kind of row reaches, and the span of the next: details, then minutes for
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

/// The sums of a group of counters, in the order of the columns.
macro_rules! sums {
    () => {
        "CAST(sum(accepted) AS bigint) AS accepted, CAST(sum(sold) AS bigint) AS sold, \
         CAST(sum(failed) AS bigint) AS failed, CAST(sum(completed) AS bigint) AS completed, \
         CAST(sum(cancelled) AS bigint) AS cancelled, CAST(sum(returned) AS bigint) AS returned, \
         max(max_wait_us) AS max_wait_us, CAST(sum(waited) AS bigint) AS waited, \
         CAST(sum(waited_us) AS bigint) AS waited_us, CAST(sum(held) AS bigint) AS held, \
         CAST(sum(confirmed) AS bigint) AS confirmed, CAST(sum(expired) AS bigint) AS expired, \
         CAST(sum(released) AS bigint) AS released"
    };
}
pub(super) use sums;

/// A time, as far ahead of `now` as there are times.
pub(super) fn later(now: DateTime<Utc>, ahead: Duration) -> DateTime<Utc> {
    let micros = now.timestamp_micros().saturating_add(span_micros(ahead));
    DateTime::from_timestamp_micros(micros).unwrap_or(now)
}

/// The beginnings of details, minutes and hours at a time, as seconds since 1970. Each begins
/// with a span of the next, so that no span is cut in two: its first second is in it.
pub(super) fn ages(at: DateTime<Utc>) -> [i64; 3] {
    REACHES_SECS.map(|(reach, span)| {
        let begin = at.timestamp() - reach;
        begin - begin.rem_euclid(span)
    })
}

#[async_trait]
impl<B: StatsSteps> StatsStore for B {
    async fn counters(&self, window: Duration) -> Result<OrderCounters, Error> {
        let window = window.min(FULL_RESOLUTION);
        reading(self, || read_counters(self, window, 1)).await
    }

    async fn history(&self, span: Duration, step: Duration) -> Result<OrderCounters, Error> {
        let step = step.as_secs().max(1).cast_signed();
        reading(self, || read_counters(self, span, step)).await
    }

    async fn compact_counters(&self, ahead: Duration) -> Result<u64, Error> {
        with_retry(self, |_| self.compact(ahead)).await
    }

    async fn oldest_pending(&self) -> Result<Option<Waiting>, Error> {
        reading(self, || oldest_pending(self)).await
    }

    async fn waits(&self, before: OrderId, orders: u32) -> Result<Vec<Wait>, Error> {
        reading(self, || waits(self, before, orders)).await
    }

    async fn hot_products(&self, orders: u32, limit: u32) -> Result<Vec<HotProduct>, Error> {
        reading(self, || hot_products(self, orders, limit)).await
    }
}

async fn read_counters<B: SqlBackend>(
    backend: &B,
    window: Duration,
    step_secs: i64,
) -> Result<OrderCounters, Error> {
    let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX >> 1);
    let values = [window, step_secs].map(Value::Int);
    let mut connection = backend.read().await?;
    let rows: Vec<CounterRow> = connection.fetch_all(B::SQL.stats.counters, &values).await?;
    counters(&rows)
}

/// Begins where claims begin: claims themselves find what is pending before that, now and then.
async fn oldest_pending<B: ClaimSteps>(backend: &B) -> Result<Option<Waiting>, Error> {
    let values = [Value::Id(backend.claimed_up_to()), Value::Now];
    let mut connection = backend.read().await?;
    let row: Option<(Uuid, i64)> = connection
        .fetch_optional(B::SQL.stats.oldest_pending, &values)
        .await?;
    Ok(row.map(|(id, pending_us)| Waiting {
        id: OrderId(id),
        age: age(pending_us),
    }))
}

async fn waits<B: SqlBackend>(
    backend: &B,
    before: OrderId,
    orders: u32,
) -> Result<Vec<Wait>, Error> {
    let values = [Value::Id(before.0), Value::Int(i64::from(orders))];
    let mut connection = backend.read().await?;
    let rows: Vec<(StoredTime, StoredTime)> = connection.fetch_all(WAITS, &values).await?;
    let wait = |(since, until): (StoredTime, StoredTime)| Wait {
        since: since.0,
        until: until.0,
    };
    Ok(rows.into_iter().map(wait).collect())
}

async fn hot_products<B: SqlBackend>(
    backend: &B,
    orders: u32,
    limit: u32,
) -> Result<Vec<HotProduct>, Error> {
    let values = [
        Value::Int(i64::from(orders)),
        Value::Int(HOT_LINES),
        Value::Int(i64::from(limit)),
    ];
    let mut connection = backend.read().await?;
    let rows: Vec<HotRow> = connection
        .fetch_all(B::SQL.stats.hot_products, &values)
        .await?;
    let hot = |row: HotRow| {
        Ok(HotProduct {
            product: Product::try_from(row.product)?,
            wanted: row.pieces.unsigned_abs(),
        })
    };
    rows.into_iter().map(hot).collect()
}

#[derive(FromRow)]
struct HotRow {
    pieces: i64,
    #[sqlx(flatten)]
    product: ProductRow,
}

/// The sums of one second, or of all that was before.
#[derive(FromRow)]
struct CounterRow {
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
    held: Option<i64>,
    confirmed: Option<i64>,
    expired: Option<i64>,
    released: Option<i64>,
}

impl CounterRow {
    fn counts(&self) -> OrderCounts {
        OrderCounts {
            accepted: count(self.accepted),
            sold: count(self.sold),
            failed: count(self.failed),
            completed: count(self.completed),
            cancelled: count(self.cancelled),
            returned: count(self.returned),
            held: count(self.held),
            confirmed: count(self.confirmed),
            expired: count(self.expired),
            released: count(self.released),
        }
    }

    fn second(&self) -> Result<Option<Second>, Error> {
        let Some(second) = self.second else {
            return Ok(None);
        };
        let (waited, longest_us) = (count(self.waited), count(self.max_wait_us));
        Ok(Some(Second {
            at: time(second)?,
            counts: self.counts(),
            mean_wait: count(self.waited_us)
                .checked_div(waited)
                .map(Duration::from_micros),
            longest_wait: (waited > 0).then(|| Duration::from_micros(longest_us)),
        }))
    }
}

/// Puts the rows together; the database gives at least one.
fn counters(rows: &[CounterRow]) -> Result<OrderCounters, Error> {
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

fn count(sum: Option<i64>) -> u64 {
    sum.unwrap_or_default().unsigned_abs()
}

fn time(second: i64) -> Result<DateTime<Utc>, Error> {
    DateTime::from_timestamp(second, 0).ok_or_else(|| Error::corrupt("time out of range"))
}
