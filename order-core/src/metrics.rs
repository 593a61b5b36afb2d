//! What is measured, through the facade of the crate `metrics`: whoever embeds this crate picks
//! what collects it, and without a collector it costs nothing.
//!
//! What happens to orders is recorded once per transaction, however many of them share it: a
//! few atomic additions for a batch of one as for one of a thousand. What has to be asked for,
//! as how much waits, is asked when somebody wants to see it
//! ([`OrderService::observe`](crate::OrderService::observe)).
//!
//! Every series whose labels are known is there from the start, at zero: an alert on a rate
//! does not miss the first event.

use std::time::Duration;

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::{
    domain::{FailureCode, NewOrder, Order, Placing},
    error::Error,
    process::{Ended, Ending, TaskKind},
    store::Decided,
    supervise,
};

pub(crate) const ACCEPTED: &str = "orders_accepted_total";
pub(crate) const DECIDED: &str = "orders_decided_total";
pub(crate) const BATCH_SIZE: &str = "orders_batch_size";
pub(crate) const BATCH_SECONDS: &str = "orders_batch_seconds";
pub(crate) const BATCH_ERRORS: &str = "orders_batch_errors_total";
pub(crate) const RETRIES: &str = "orders_transaction_retries_total";
pub(crate) const SWEPT: &str = "orders_swept_total";
pub(crate) const TASKS: &str = "orders_tasks_total";
pub(crate) const TASK_SECONDS: &str = "orders_task_seconds";
pub(crate) const TASKS_IN_FLIGHT: &str = "orders_tasks_in_flight";
pub(crate) const PANICS: &str = "orders_panics_total";
pub(crate) const UP: &str = "orders_backend_up";
pub(crate) const PENDING: &str = "orders_pending";
pub(crate) const PENDING_AGE: &str = "orders_pending_oldest_age_seconds";
pub(crate) const QUEUE_ENTRIES: &str = "orders_queue_entries";
pub(crate) const QUEUE_AGE: &str = "orders_queue_oldest_age_seconds";
pub(crate) const QUEUE_PAUSED: &str = "orders_queue_paused";
pub(crate) const WAITING: &str = "orders_requests_waiting";
pub(crate) const CONTENDED: &str = "orders_contended_products";
pub(crate) const CONTENTIONS: &str = "orders_product_contentions_total";
pub(crate) const SET_ASIDE: &str = "orders_requests_set_aside";
pub(crate) const PUT_OFF: &str = "orders_put_off_total";
pub(crate) const FOLLOWED: &str = "orders_followed";
pub(crate) const FOLLOW_QUERIES: &str = "orders_follow_queries_total";
pub(crate) const CACHE_READS: &str = "orders_cache_reads_total";
pub(crate) const CACHE_ERRORS: &str = "orders_cache_errors_total";
pub(crate) const CACHE_ENTRIES: &str = "orders_cache_entries";
pub(crate) const POOL: &str = "orders_pool_connections";
pub(crate) const POOL_MAX: &str = "orders_pool_max_connections";

/// From half a millisecond, which is a fast commit, to the limit of one attempt.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// From one order alone to the largest batch by default.
const SIZES: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0,
];

/// From what only writes to the log to what calls somebody slow.
const TASK_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The histograms, each with the upper bounds of its buckets, for collectors that want to be
/// told: the facade has no place for them.
pub const HISTOGRAMS: &[(&str, &[f64])] = &[
    (BATCH_SIZE, SIZES),
    (BATCH_SECONDS, SECONDS),
    (TASK_SECONDS, TASK_BUCKETS),
];

/// What one transaction does for many orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Accept,
    Purchase,
    Decide,
}

impl From<Placing> for Operation {
    fn from(placing: Placing) -> Self {
        match placing {
            Placing::Accept => Self::Accept,
            Placing::Purchase => Self::Purchase,
        }
    }
}

impl Operation {
    const ALL: [Self; 3] = [Self::Accept, Self::Purchase, Self::Decide];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Purchase => "purchase",
            Self::Decide => "decide",
        }
    }
}

/// How an order came to its decision.
const WAYS: [&str; 2] = [BACKGROUND, PURCHASE];
const BACKGROUND: &str = "background";
const PURCHASE: &str = "purchase";

/// What was decided.
const OUTCOMES: [&str; 3] = [
    SUCCESS,
    FailureCode::InsufficientStock.as_str(),
    FailureCode::ProductUnavailable.as_str(),
];
const SUCCESS: &str = "success";

/// Why a transaction failed.
const ERRORS: [&str; 3] = ["unavailable", "outcome_unknown", "backend"];

fn cause(error: &Error) -> &'static str {
    match error {
        Error::OutcomeUnknown { .. } => "outcome_unknown",
        error if error.is_transient() => "unavailable",
        _ => "backend",
    }
}

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
    let mut tally = Tally::default();
    for result in made(orders, results) {
        match result {
            Ok(_) => tally.success += 1,
            Err(Error::InsufficientStock { .. }) => tally.insufficient_stock += 1,
            Err(Error::ProductNotFound(_)) => tally.product_unavailable += 1,
            Err(_) => {}
        }
    }
    tally.count(PURCHASE);
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
    let mut tally = Tally::default();
    for (_, decision) in *results {
        match decision.map_err(|failure| failure.code) {
            Ok(()) => tally.success += 1,
            Err(FailureCode::InsufficientStock) => tally.insufficient_stock += 1,
            Err(FailureCode::ProductUnavailable) => tally.product_unavailable += 1,
        }
    }
    tally.count(BACKGROUND);
}

/// The results of one transaction, or why there are none.
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
struct Tally {
    success: u64,
    insufficient_stock: u64,
    product_unavailable: u64,
}

impl Tally {
    fn count(self, way: &'static str) {
        let counts = [
            self.success,
            self.insufficient_stock,
            self.product_unavailable,
        ];
        for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
            if count > 0 {
                counter!(DECIDED, "way" => way, "outcome" => outcome).increment(count);
            }
        }
    }
}

/// How an attempt at a task ended.
const TASK_OUTCOMES: [&str; 4] = ["completed", "retried", "dead", "compensated"];

fn outcome(ended: &Ended) -> &'static str {
    let [completed, retried, dead, compensated] = TASK_OUTCOMES;
    match (&ended.ending, ended.kind) {
        (Ending::Done, TaskKind::Process) => completed,
        (Ending::Done, TaskKind::Compensate) => compensated,
        (Ending::Retry(..), _) => retried,
        (Ending::Dead(_) | Ending::Exhausted(_), _) => dead,
    }
}

/// An attempt at a task has begun.
pub(crate) fn task_began() {
    gauge!(TASKS_IN_FLIGHT).increment(1);
}

/// The ends of attempts were written, or could not be.
pub(crate) fn tasks_left(attempts: usize) {
    gauge!(TASKS_IN_FLIGHT).decrement(float(attempts as u64));
}

/// The ends of attempts were written.
pub(crate) fn tasks_ended(ended: &[Ended]) {
    let seconds = histogram!(TASK_SECONDS);
    for attempt in ended {
        seconds.record(attempt.took);
    }
    for name in TASK_OUTCOMES {
        let count = ended.iter().filter(|ended| outcome(ended) == name).count();
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

/// Tells the collector what everything means, and begins every series that is known by now.
/// To be called once, when the collector is in place.
pub fn describe() {
    describe_orders();
    describe_tasks();
    describe_waiting();
    describe_parts();
    begin();
}

fn describe_orders() {
    describe_counter!(ACCEPTED, "Orders stored as pending.");
    describe_counter!(
        DECIDED,
        "Orders decided, by the way they came and by outcome."
    );
    describe_histogram!(BATCH_SIZE, Unit::Count, "Orders that shared a transaction.");
    describe_histogram!(
        BATCH_SECONDS,
        Unit::Seconds,
        "Time of a transaction over many orders, its retries included."
    );
    describe_counter!(BATCH_ERRORS, "Transactions over many orders that failed.");
    describe_counter!(
        RETRIES,
        "Transactions made again after a transient failure."
    );
    describe_counter!(SWEPT, "Orders that the sweeper offered to the queue again.");
}

fn describe_tasks() {
    describe_counter!(TASKS, "Attempts at what follows a sale, by outcome.");
    describe_histogram!(TASK_SECONDS, Unit::Seconds, "Time of such an attempt.");
    describe_gauge!(TASKS_IN_FLIGHT, "Attempts whose end is not written yet.");
}

fn describe_waiting() {
    describe_gauge!(
        PENDING,
        "Orders that wait for their decision, counted up to 100000; NaN when unknown."
    );
    describe_gauge!(
        PENDING_AGE,
        Unit::Seconds,
        "Age of the oldest order that waits for its decision; NaN when unknown."
    );
    describe_gauge!(
        QUEUE_ENTRIES,
        "Entries of the queue by topic and state; NaN when unknown."
    );
    describe_gauge!(
        QUEUE_AGE,
        Unit::Seconds,
        "How long the oldest waiting entry could have been claimed; NaN when unknown."
    );
    describe_gauge!(QUEUE_PAUSED, "1 while a topic is paused; NaN when unknown.");
    describe_gauge!(WAITING, "Requests that wait for the next transaction.");
    describe_gauge!(
        CONTENDED,
        "Products that somebody holds locked and does not let go: their orders are set aside."
    );
    describe_counter!(CONTENTIONS, "Products that could not be locked.");
    describe_gauge!(SET_ASIDE, "Requests that wait for such a product.");
    describe_counter!(
        PUT_OFF,
        "Orders that went back to the queue, since they or their products are locked."
    );
    describe_gauge!(FOLLOWED, "Orders that somebody follows.");
    describe_counter!(FOLLOW_QUERIES, "Queries made for those who follow orders.");
}

fn describe_parts() {
    describe_counter!(
        PANICS,
        "Panics, each a bug, of parts that went on, by part."
    );
    describe_gauge!(UP, "1 when the backend answers in time, 0 when not.");
    describe_counter!(
        CACHE_READS,
        "Reads of products through the cache, by result."
    );
    describe_counter!(CACHE_ERRORS, "Calls of the cache that failed.");
    describe_gauge!(
        CACHE_ENTRIES,
        "Products that the cache in this process keeps."
    );
    describe_gauge!(POOL, "Open connections to the database, by pool and state.");
    describe_gauge!(POOL_MAX, "The most connections that a pool opens.");
}

fn begin() {
    for name in [
        ACCEPTED,
        RETRIES,
        SWEPT,
        FOLLOW_QUERIES,
        CACHE_ERRORS,
        CONTENTIONS,
        PUT_OFF,
    ] {
        counter!(name).increment(0);
    }
    for result in ["hit", "miss"] {
        counter!(CACHE_READS, "result" => result).increment(0);
    }
    for way in WAYS {
        for outcome in OUTCOMES {
            counter!(DECIDED, "way" => way, "outcome" => outcome).increment(0);
        }
    }
    for operation in Operation::ALL.map(Operation::as_str) {
        // Nothing is recorded: being asked for is what begins them.
        drop(histogram!(BATCH_SIZE, "operation" => operation));
        drop(histogram!(BATCH_SECONDS, "operation" => operation));
        for error in ERRORS {
            counter!(BATCH_ERRORS, "operation" => operation, "error" => error).increment(0);
        }
    }
    for part in supervise::PARTS {
        counter!(PANICS, "part" => part).increment(0);
    }
    for outcome in TASK_OUTCOMES {
        counter!(TASKS, "outcome" => outcome).increment(0);
    }
    drop(histogram!(TASK_SECONDS));
    for name in [FOLLOWED, TASKS_IN_FLIGHT, CONTENDED, SET_ASIDE] {
        let gauge = gauge!(name);
        gauge.increment(0);
    }
}
