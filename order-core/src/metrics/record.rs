//! Recording of what happens, once per transaction.

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};

use super::{
    labels::{BACKGROUND, CONFIRMED, EXPIRED, OUTCOMES, Operation, PURCHASE, TASK_OUTCOMES, cause},
    names::{
        ACCEPTED, BATCH_ERRORS, BATCH_SECONDS, BATCH_SIZE, CONTENDED, CONTENTIONS, DECIDED,
        HOLDS_ENDED, PANICS, PUT_OFF, RETRIES, SET_ASIDE, SWEPT, TASK_SECONDS, TASKS,
        TASKS_IN_FLIGHT,
    },
};
use crate::{
    decision::{Decided, Granted},
    domain::{FailureCode, NewOrder, Order},
    error::Error,
    process::{AttemptOutcome, AttemptResult, TaskKind},
};

/// A transaction that accepted orders has ended.
pub(crate) fn accepted(orders: &[NewOrder], took: Duration, results: &Batch<'_>) {
    batch(
        Operation::Accept,
        orders.len(),
        took,
        results.as_ref().err(),
    );
    if let Ok(results) = results {
        let accepted = made(orders, results).filter(|result| result.is_ok());
        counter!(ACCEPTED).increment(accepted.count() as u64);
    }
}

/// A transaction that sold orders at once, or refused them, has ended.
pub(crate) fn purchased(orders: &[NewOrder], took: Duration, results: &Batch<'_>) {
    batch(
        Operation::Purchase,
        orders.len(),
        took,
        results.as_ref().err(),
    );
    let Ok(results) = results else { return };
    let mut counts = OutcomeCounts::default();
    for result in made(orders, results) {
        match result {
            Ok(order) if order.hold_time.is_some() => counts.held += 1,
            Ok(_) => counts.success += 1,
            Err(Error::InsufficientStock { .. }) => counts.insufficient_stock += 1,
            Err(Error::ProductNotFound(_)) => counts.product_unavailable += 1,
            Err(Error::NotOnSale { .. }) => counts.not_on_sale += 1,
            Err(Error::CustomerLimit { .. }) => counts.customer_limit += 1,
            Err(_) => {}
        }
    }
    counts.count(PURCHASE);
}

/// The results without orders that an earlier request with the same key made.
fn made<'a>(
    orders: &'a [NewOrder],
    results: &'a [Result<Order, Error>],
) -> impl Iterator<Item = &'a Result<Order, Error>> {
    let both = orders.iter().zip(results);
    both.filter(|(order, result)| !matches!(result, Ok(stored) if order.is_replayed_by(stored)))
        .map(|(_, result)| result)
}

/// A transaction that decided what was accepted has ended. One that found nothing to do is
/// none.
pub(crate) fn decided(took: Duration, results: &Result<&[Decided], &Error>) {
    let orders = results.map_or(0, <[Decided]>::len);
    if results.is_err() || orders > 0 {
        batch(Operation::Decide, orders, took, results.as_ref().err());
    }
    let Ok(results) = results else { return };
    let mut counts = OutcomeCounts::default();
    for (_, decision) in *results {
        match decision.map_err(|failure| failure.code) {
            Ok(Granted::Sold) => counts.success += 1,
            Ok(Granted::Held { .. }) => counts.held += 1,
            Err(FailureCode::InsufficientStock) => counts.insufficient_stock += 1,
            Err(FailureCode::ProductUnavailable) => counts.product_unavailable += 1,
            Err(FailureCode::NotOnSale) => counts.not_on_sale += 1,
            Err(FailureCode::CustomerLimit) => counts.customer_limit += 1,
        }
    }
    counts.count(BACKGROUND);
}

/// A transaction that was to confirm held orders has ended, and so many were confirmed by it.
pub(crate) fn confirmed(orders: usize, took: Duration, confirmed: Result<usize, &Error>) {
    batch(Operation::Confirm, orders, took, confirmed.as_ref().err());
    let confirmed = confirmed.unwrap_or_default();
    counter!(HOLDS_ENDED, "outcome" => CONFIRMED).increment(confirmed as u64);
}

/// Held orders expired.
pub(crate) fn expired(orders: usize) {
    counter!(HOLDS_ENDED, "outcome" => EXPIRED).increment(orders as u64);
}

/// The results of one transaction, or the error for which there are none.
pub(crate) type Batch<'a> = Result<&'a [Result<Order, Error>], &'a Error>;

fn batch(operation: Operation, orders: usize, took: Duration, error: Option<&&Error>) {
    let operation = operation.as_str();
    histogram!(BATCH_SECONDS, "operation" => operation).record(took);
    match error {
        None => {
            histogram!(BATCH_SIZE, "operation" => operation).record(float(orders as u64));
        }
        Some(error) => {
            let labels = [("operation", operation), ("error", cause(error))];
            counter!(BATCH_ERRORS, &labels).increment(1);
        }
    }
}

/// The outcomes of one transaction.
#[derive(Default)]
struct OutcomeCounts {
    success: u64,
    held: u64,
    insufficient_stock: u64,
    product_unavailable: u64,
    not_on_sale: u64,
    customer_limit: u64,
}

impl OutcomeCounts {
    fn count(self, way: &'static str) {
        let counts = [
            self.success,
            self.held,
            self.insufficient_stock,
            self.product_unavailable,
            self.not_on_sale,
            self.customer_limit,
        ];
        for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
            if count > 0 {
                counter!(DECIDED, "way" => way, "outcome" => outcome).increment(count);
            }
        }
    }
}

/// The outcome of an attempt; none when there was no attempt.
fn outcome(ended: &AttemptResult) -> Option<&'static str> {
    let [completed, retried, dead, compensated] = TASK_OUTCOMES;
    match (&ended.outcome, ended.kind) {
        (AttemptOutcome::Done, TaskKind::Process) => Some(completed),
        (AttemptOutcome::Done, TaskKind::Compensate) => Some(compensated),
        (AttemptOutcome::Retry(..), _) => Some(retried),
        (AttemptOutcome::Dead(_) | AttemptOutcome::Exhausted(_), _) => Some(dead),
        (AttemptOutcome::NotBegun, _) => None,
    }
}

/// Tasks were claimed, and are attempted.
pub(crate) fn tasks_came(tasks: usize) {
    gauge!(TASKS_IN_FLIGHT).increment(float(tasks as u64));
}

/// The ends of attempts were written, or could not be.
pub(crate) fn tasks_left(attempts: usize) {
    gauge!(TASKS_IN_FLIGHT).decrement(float(attempts as u64));
}

/// The ends of attempts were written.
pub(crate) fn tasks_ended(ended: &[AttemptResult]) {
    let seconds = histogram!(TASK_SECONDS);
    for attempt in ended.iter().filter(|ended| outcome(ended).is_some()) {
        seconds.record(attempt.took);
    }
    for name in TASK_OUTCOMES {
        let is_so = |ended: &&AttemptResult| outcome(ended) == Some(name);
        let count = ended.iter().filter(is_so).count();
        if count > 0 {
            counter!(TASKS, "outcome" => name).increment(count as u64);
        }
    }
}

/// A count as gauges and histograms keep it: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A count as traces tell it: OpenTelemetry has no unsigned numbers.
pub(crate) fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A transaction is made again after a transient failure.
pub(crate) fn retried() {
    counter!(RETRIES).increment(1);
}

/// Products could not be locked.
pub(crate) fn contended(products: usize) {
    gauge!(CONTENDED).increment(float(products as u64));
    counter!(CONTENTIONS).increment(products as u64);
}

/// Products can be locked again.
pub(crate) fn contention_ended(products: usize) {
    gauge!(CONTENDED).decrement(float(products as u64));
}

/// A request was set aside.
pub(crate) fn set_aside() {
    gauge!(SET_ASIDE).increment(1);
}

/// A request has its turn after all, or is answered without.
pub(crate) fn not_aside() {
    gauge!(SET_ASIDE).decrement(1);
}

/// Claimed orders went back to the queue, since they or their products are locked.
pub(crate) fn put_off(orders: usize) {
    counter!(PUT_OFF).increment(orders as u64);
}

/// The sweeper offered orders again.
pub(crate) fn swept(orders: usize) {
    counter!(SWEPT).increment(orders as u64);
}

/// A part panicked, and goes on.
pub(crate) fn panicked(part: &'static str) {
    counter!(PANICS, "part" => part).increment(1);
}
