//! One attempt at a task, or at several together.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span, debug_span, field::Empty};
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

/// An attempt, and the result of each of its tasks.
pub(super) type Attempt = BoxFuture<'static, Vec<AttemptResult>>;

/// The attempt at one task that was claimed after `since`, or at several that go together.
pub(super) fn begin(
    mut tasks: Vec<Claimed>,
    since: Instant,
    processing: Processing,
    worker_id: Uuid,
) -> Attempt {
    // Such a task is alone.
    match tasks.pop_if(|task| !goes_together(task, &processing)) {
        Some(task) => {
            let span = span(&task, &processing);
            let attempt = attempt(task, since, processing, worker_id).instrument(span);
            attempt.map(|result| vec![result]).boxed()
        }
        None => attempt_together(tasks, since, processing, worker_id).boxed(),
    }
}

/// The span of an attempt, in the trace of the request that placed the order.
fn span(claimed: &Claimed, processing: &Processing) -> Span {
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
async fn attempt(
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
    note(&claimed, &outcome);
    claimed.result(worker_id, begun.elapsed(), outcome)
}

/// Tells whether the attempt at a task is made together with others: it is the first one. So an order
/// that fails those of its batch fails them once.
pub(super) fn goes_together(claimed: &Claimed, processing: &Processing) -> bool {
    claimed.lease.attempts == 1
        && processing.options.max_attempts >= 1
        && !claimed.kind.compensates()
        && processing.processor.max_batch() > 1
}

/// Makes one attempt at each of several tasks that go together and were claimed after `since`, and gives
/// their results. Each has its span; what they do together is done in none of them.
async fn attempt_together(
    claimed: Vec<Claimed>,
    since: Instant,
    processing: Processing,
    worker_id: Uuid,
) -> Vec<AttemptResult> {
    let begun = Instant::now();
    let spans: Vec<Span> = claimed.iter().map(|one| span(one, &processing)).collect();
    let made = make_together(&claimed, since, &processing).await;
    let took = begun.elapsed();
    let ended = claimed.into_iter().zip(made).zip(spans);
    let ended = ended.map(|((claimed, made), span)| {
        let outcome = match made {
            Ok(()) => AttemptOutcome::Done,
            Err(error) => Failure::Failed(error).outcome(&claimed, &processing),
        };
        span.in_scope(|| note(&claimed, &outcome));
        claimed.result(worker_id, took, outcome)
    });
    ended.collect()
}

/// Notes a failure in the span that we are in, and in the log when it is the last one.
fn note(claimed: &Claimed, outcome: &AttemptOutcome) {
    if let Some(reason) = reason(outcome) {
        trace::failed(reason);
    }
    if let Some(error) = given_up(outcome) {
        tracing::error!(error, order = %claimed.lease.order_id, "task is given up");
    }
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
    let made = within(since, &processing.options, attempt).await;
    made.flatten().map_err(Failure::Failed)
}

/// What cannot be done is not part of the batch, and what is cancelled meanwhile is not, either. What
/// fails as a whole fails each.
async fn make_together(
    claimed: &[Claimed],
    since: Instant,
    processing: &Processing,
) -> Vec<Result<(), ProcessError>> {
    let found: Vec<Result<Option<Task>, ProcessError>> = claimed.iter().map(task).collect();
    let tasks = found.iter().filter_map(|task| task.clone().ok().flatten());
    let tasks: Vec<Task> = tasks.collect();
    let mut results = Ok(Vec::new());
    if !tasks.is_empty() {
        let batch = processing.processor.process_batch(&tasks);
        results = within(since, &processing.options, batch).await;
    }
    let results = results.and_then(|results| match results.len() == tasks.len() {
        true => Ok(results),
        false => Err(ProcessError::retry(format!(
            "the processor gave {} results of {} tasks",
            results.len(),
            tasks.len()
        ))),
    });
    let mut results = match results {
        Ok(results) => results,
        Err(error) => vec![Err(error); tasks.len()],
    }
    .into_iter();
    let made = found.into_iter().map(|task| match task {
        Ok(Some(_)) => results.next().unwrap_or(Ok(())),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    });
    made.collect()
}

/// What a processor does, within the time that is left after a claim.
///
/// # Errors
/// A failure that may pass, when it panics, or takes longer.
async fn within<T>(
    since: Instant,
    options: &ProcessOptions,
    attempt: impl Future<Output = T>,
) -> Result<T, ProcessError> {
    let limit = limit(since, options)?;
    match timeout(limit, AssertUnwindSafe(attempt).catch_unwind()).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(ProcessError::retry("the processor panicked")),
        Err(_) => Err(ProcessError::retry(format!("took longer than {limit:?}"))),
    }
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
