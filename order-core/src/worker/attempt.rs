//! One attempt at a task.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::{Span, debug_span, field::Empty};
use uuid::Uuid;

use crate::{
    domain::OrderStatus,
    process::{
        AttemptOutcome, AttemptResult, Claimed, ProcessError, ProcessOptions, Processing, Task,
        TaskKind,
    },
    queue::Lease,
    trace,
};

/// The span of an attempt, in the trace of the request that placed the order.
pub(super) fn span(claimed: &Claimed, processing: &Processing) -> Span {
    let Lease {
        order_id, attempts, ..
    } = claimed.lease;
    let kind = if processing.processor.calls_elsewhere() {
        "client"
    } else {
        "internal"
    };
    let span = debug_span!(
        parent: None,
        "task",
        order = %order_id,
        attempt = i64::from(attempts),
        http.response.status_code = Empty,
        otel.kind = kind,
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    if let Some(parent) = claimed.order.as_ref().and_then(|order| order.trace_parent) {
        trace::go_on(&span, parent);
    }
    span
}

/// Makes one attempt at a task that was claimed after `since`, and gives its result.
pub(super) async fn attempt(
    claimed: Claimed,
    since: Instant,
    processing: Processing,
    worker_id: Uuid,
) -> AttemptResult {
    let begun = Instant::now();
    let outcome = match make(&claimed, since, &processing).await {
        Ok(()) => AttemptOutcome::Done,
        Err(failure) => failure.outcome(&claimed, &processing),
    };
    if let Some(reason) = reason(&outcome) {
        trace::failed(reason);
    }
    if let Some(error) = given_up(&outcome) {
        tracing::error!(error, order = %claimed.lease.order_id, "task is given up");
    }
    claimed.result(worker_id, begun.elapsed(), outcome)
}

/// The reason why an attempt failed.
fn reason(outcome: &AttemptOutcome) -> Option<&str> {
    match outcome {
        AttemptOutcome::Retry(_, reason) => Some(reason),
        other => given_up(other),
    }
}

fn given_up(outcome: &AttemptOutcome) -> Option<&str> {
    match outcome {
        AttemptOutcome::Dead(reason) | AttemptOutcome::Exhausted(reason) => Some(reason),
        AttemptOutcome::Done | AttemptOutcome::Retry(..) | AttemptOutcome::NotBegun => None,
    }
}

/// The reason for which an attempt did not succeed.
enum Failure {
    /// It was made.
    Failed(ProcessError),
    /// There was none left.
    Exhausted,
}

impl Failure {
    fn outcome(self, claimed: &Claimed, processing: &Processing) -> AttemptOutcome {
        let options = &processing.options;
        match self {
            Self::Exhausted => AttemptOutcome::Exhausted(format!(
                "the worker ended or hung during attempt {} of {0}",
                options.max_attempts
            )),
            Self::Failed(ProcessError::GiveUp { reason }) => AttemptOutcome::Dead(reason),
            Self::Failed(ProcessError::Retry { reason, .. })
                if claimed.lease.attempts >= options.max_attempts =>
            {
                AttemptOutcome::Dead(reason)
            }
            Self::Failed(ProcessError::Retry { reason, after }) => {
                let usual = options.retry_delay(claimed.lease.attempts);
                let delay = after.map_or(usual, |after| after.max(usual));
                AttemptOutcome::Retry(delay.min(options.max_delay), reason)
            }
        }
    }
}

async fn make(claimed: &Claimed, since: Instant, processing: &Processing) -> Result<(), Failure> {
    if claimed.lease.attempts > processing.options.max_attempts {
        return Err(Failure::Exhausted);
    }
    let Some(task) = task(claimed).map_err(Failure::Failed)? else {
        return Ok(());
    };
    let processor = &processing.processor;
    let attempt = async {
        match task.kind {
            TaskKind::Process => processor.process(&task).await,
            TaskKind::Compensate => processor.compensate(&task).await,
        }
    };
    let limit = limit(since, &processing.options).map_err(Failure::Failed)?;
    let ended = timeout(limit, AssertUnwindSafe(attempt).catch_unwind()).await;
    let result = match ended {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(ProcessError::retry("the processor panicked")),
        Err(_) => Err(ProcessError::retry(format!("took longer than {limit:?}"))),
    };
    result.map_err(Failure::Failed)
}

/// The time that an attempt may take: no longer than its lease holds, by the monotonic clock of
/// this process. An answer to the claim that was long under way has used up some of that.
fn limit(since: Instant, options: &ProcessOptions) -> Result<Duration, ProcessError> {
    let left = options.lease().saturating_sub(since.elapsed());
    if left.is_zero() {
        return Err(ProcessError::retry(
            "the lease ran out before the attempt could begin",
        ));
    }
    Ok(options.timeout.min(left))
}

/// The task to do; none when the order was cancelled just after the claim: then its task is a
/// compensation by now, which has its turn next.
fn task(claimed: &Claimed) -> Result<Option<Task>, ProcessError> {
    let Some(order) = &claimed.order else {
        return Err(ProcessError::give_up("there is no such order"));
    };
    let fits = match claimed.kind {
        TaskKind::Process => order.status.is_sold(),
        TaskKind::Compensate => order.is_to_be_compensated(),
    };
    if !fits && order.status != OrderStatus::Cancelled {
        return Err(ProcessError::give_up(format!(
            "the order is {}",
            order.status
        )));
    }
    Ok(fits.then(|| Task {
        kind: claimed.kind,
        order: order.clone(),
        attempt: claimed.lease.attempts,
    }))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// However long the answer to the claim was under way.
    #[tokio::test(start_paused = true)]
    async fn an_attempt_ends_before_its_lease_does() {
        let second = Duration::from_secs(1);
        let options = ProcessOptions {
            timeout: 10 * second,
            ..ProcessOptions::default()
        };
        let since = Instant::now();
        assert_eq!(options.lease(), 15 * second);
        assert_eq!(limit(since, &options), Ok(10 * second));
        advance(4 * second).await;
        assert_eq!(limit(since, &options), Ok(10 * second));
        advance(4 * second).await;
        assert_eq!(limit(since, &options), Ok(7 * second));
        advance(7 * second).await;
        assert!(limit(since, &options).is_err());
        advance(7 * second).await;
        assert!(limit(since, &options).is_err());
    }
}
