//! Figures over time: orders by the counters of the database, and requests by those of this process.

use std::time::Duration;

use chrono::{DateTime, Utc};
use order_core::{
    OrderService,
    clock::{Clock, SystemClock},
    stats::{OrderCounters, OrderCounts},
};
use poem_openapi::{Enum, Object, OpenApi, param::Query};
use serde::Serialize;

use super::{tag::Tag, wire::Time};
use crate::{
    auth::Inspect,
    http::{json::Json, problem::Problem},
    recent::{self, Answered, STEPS},
};

/// How far back figures go.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename = "Range")]
enum Range {
    #[oai(rename = "5m")]
    FiveMinutes,
    #[oai(rename = "1h")]
    Hour,
    #[oai(rename = "24h")]
    Day,
    #[oai(rename = "30d")]
    Month,
}

/// The steps of a range: the first one begins at `from`, and the last one is not over, unless it is a
/// second.
#[derive(Clone, Copy)]
struct Steps {
    from: i64,
    secs: i64,
    count: usize,
}

impl Steps {
    fn of(range: Range, now: DateTime<Utc>) -> Self {
        let (secs, count) = STEPS[range as usize];
        let secs = secs.cast_signed();
        let last = now.timestamp() - 1;
        let last = last - last.rem_euclid(secs);
        Self {
            from: last - (count as i64 - 1) * secs,
            secs,
            count,
        }
    }

    /// The step that `at` is in.
    fn index(&self, at: i64) -> Option<usize> {
        let index = usize::try_from((at - self.from).div_euclid(self.secs)).ok()?;
        (index < self.count).then_some(index)
    }

    fn begin(&self) -> Time {
        DateTime::from_timestamp(self.from, 0).unwrap_or_default()
    }
}

/// Orders over time, the oldest step first. The last step is not over, unless it is a second.
#[derive(Serialize, Object)]
#[oai(rename = "StatsHistory")]
struct HistoryBody {
    /// Time of the figures, by the clock of the database.
    at: Time,
    /// The beginning of the first step.
    from: Time,
    /// The length of a step.
    step_seconds: u64,
    accepted: Vec<u64>,
    sold: Vec<u64>,
    failed: Vec<u64>,
    completed: Vec<u64>,
    cancelled: Vec<u64>,
    /// Orders that were not decided at the end of each step.
    pending: Vec<u64>,
    /// Sold orders whose task was not done at the end of each step.
    unprocessed: Vec<u64>,
    /// Average wait of the orders decided in each step; `null` if there were none.
    mean_wait_seconds: Vec<Option<f64>>,
    /// Longest wait of one of them; `null` if there were none.
    longest_wait_seconds: Vec<Option<f64>>,
}

impl HistoryBody {
    fn new(range: Range, counters: &OrderCounters) -> Self {
        let steps = Steps::of(range, counters.at);
        let mut counts = vec![OrderCounts::default(); steps.count];
        let mut mean = vec![None; steps.count];
        let mut longest = vec![None; steps.count];
        let mut left = counters.totals;
        for step in &counters.seconds {
            if let Some(index) = steps.index(step.at.timestamp()) {
                counts[index] += step.counts;
                mean[index] = step.mean_wait.map(|wait| wait.as_secs_f64());
                longest[index] = step.longest_wait.map(|wait| wait.as_secs_f64());
            } else if step.at.timestamp() > steps.from {
                left = less(left, step.counts);
            }
        }
        let mut backlog = vec![(0, 0); steps.count];
        for (index, counts) in counts.iter().enumerate().rev() {
            backlog[index] = (left.pending(), left.success());
            left = less(left, *counts);
        }
        let of = |count: fn(&OrderCounts) -> u64| counts.iter().map(count).collect();
        Self {
            at: counters.at,
            from: steps.begin(),
            step_seconds: steps.secs.unsigned_abs(),
            accepted: of(|counts| counts.accepted),
            sold: of(|counts| counts.sold),
            failed: of(|counts| counts.failed),
            completed: of(|counts| counts.completed),
            cancelled: of(|counts| counts.cancelled),
            pending: backlog.iter().map(|(pending, _)| *pending).collect(),
            unprocessed: backlog.iter().map(|(_, sold)| *sold).collect(),
            mean_wait_seconds: mean,
            longest_wait_seconds: longest,
        }
    }
}

/// What had been counted before `counts` were.
fn less(all: OrderCounts, counts: OrderCounts) -> OrderCounts {
    OrderCounts {
        accepted: all.accepted.saturating_sub(counts.accepted),
        sold: all.sold.saturating_sub(counts.sold),
        failed: all.failed.saturating_sub(counts.failed),
        completed: all.completed.saturating_sub(counts.completed),
        cancelled: all.cancelled.saturating_sub(counts.cancelled),
        returned: all.returned.saturating_sub(counts.returned),
        held: all.held.saturating_sub(counts.held),
        confirmed: all.confirmed.saturating_sub(counts.confirmed),
        expired: all.expired.saturating_sub(counts.expired),
        released: all.released.saturating_sub(counts.released),
    }
}

/// Requests to the API of this server process, since it started, the oldest step first.
#[derive(Serialize, Object)]
#[oai(rename = "RequestHistory")]
struct RequestsBody {
    /// Time of the figures, by the clock of the server.
    at: Time,
    /// The beginning of the first step.
    from: Time,
    /// The length of a step.
    step_seconds: u64,
    requests: Vec<u64>,
    /// Those that met a state that forbids them (409), such as a product that is sold out.
    conflicts: Vec<u64>,
    /// Those that were refused for what they are (other 4xx).
    refused: Vec<u64>,
    /// Those that the server failed to do (5xx).
    failed: Vec<u64>,
    /// Time within which half of them were answered; `null` if there were none.
    p50_seconds: Vec<Option<f64>>,
    /// Time within which 99 of a hundred were answered.
    p99_seconds: Vec<Option<f64>>,
}

impl RequestsBody {
    fn new(range: Range, now: Time) -> Self {
        let steps = Steps::of(range, now);
        let mut answered: Vec<Option<Answered>> = vec![None; steps.count];
        for step in recent::steps(steps.secs.unsigned_abs()) {
            if let Some(index) = steps.index(step.from.cast_signed()) {
                answered[index] = Some(step);
            }
        }
        let of = |count: fn(&Answered) -> u64| {
            let counts = answered.iter();
            counts.map(|step| step.as_ref().map_or(0, count)).collect()
        };
        let within = |share| {
            let steps = answered.iter();
            let time = |step: &Option<Answered>| step.as_ref()?.within(share);
            steps
                .map(|step| time(step).map(|time| time.as_secs_f64()))
                .collect()
        };
        Self {
            at: now,
            from: steps.begin(),
            step_seconds: steps.secs.unsigned_abs(),
            requests: of(|step| step.requests),
            conflicts: of(|step| step.conflicts),
            refused: of(|step| step.refused),
            failed: of(|step| step.failed),
            p50_seconds: within(0.5),
            p99_seconds: within(0.99),
        }
    }
}

/// The operations that give figures over time.
pub struct StatsHistory {
    service: OrderService,
}

impl StatsHistory {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }
}

#[OpenApi(tag = "Tag::Operations")]
impl StatsHistory {
    /// Read how many orders came to each milestone over time, and what was to do at each moment
    #[oai(
        path = "/stats/history",
        method = "get",
        operation_id = "getStatsHistory"
    )]
    async fn history(
        &self,
        _caller: Inspect,
        /// How far back
        range: Query<Range>,
    ) -> Result<Json<HistoryBody>, Problem> {
        let (secs, count) = STEPS[range.0 as usize];
        let span = Duration::from_secs(secs * count as u64);
        let counters = self
            .service
            .stats_history(span, Duration::from_secs(secs))
            .await?;
        Ok(Json(HistoryBody::new(range.0, &counters)))
    }

    /// Read how this server answered requests over time
    #[oai(
        path = "/stats/requests",
        method = "get",
        operation_id = "getRequestHistory"
    )]
    async fn requests(
        &self,
        _caller: Inspect,
        /// How far back
        range: Query<Range>,
    ) -> Json<RequestsBody> {
        Json(RequestsBody::new(range.0, SystemClock.now()))
    }
}
