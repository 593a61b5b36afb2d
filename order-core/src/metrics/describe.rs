//! Descriptions of all series, and their beginnings.

use ::metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::{
    labels::{ERRORS, HOLD_ENDS, OUTCOMES, Operation, TASK_OUTCOMES, WAYS},
    names::*,
    part,
};

/// Describes every series to the collector, and begins every series that is known by now.
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
    describe_counter!(
        HOLDS_ENDED,
        "Held orders that this process confirmed or expired, by outcome."
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
    describe_counter!(TASKS, "Attempts at post-sale tasks, by outcome.");
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
    describe_gauge!(WATCHED, "Products that somebody watches.");
    describe_counter!(WATCH_QUERIES, "Queries made for those who watch products.");
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
        WATCH_QUERIES,
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
    for outcome in HOLD_ENDS {
        counter!(HOLDS_ENDED, "outcome" => outcome).increment(0);
    }
    for operation in Operation::ALL.map(Operation::as_str) {
        // Nothing is recorded: being asked for is what begins them.
        drop(histogram!(BATCH_SIZE, "operation" => operation));
        drop(histogram!(BATCH_SECONDS, "operation" => operation));
        for error in ERRORS {
            counter!(BATCH_ERRORS, "operation" => operation, "error" => error).increment(0);
        }
    }
    for part in part::ALL {
        counter!(PANICS, "part" => part).increment(0);
    }
    for outcome in TASK_OUTCOMES {
        counter!(TASKS, "outcome" => outcome).increment(0);
    }
    drop(histogram!(TASK_SECONDS));
    for name in [FOLLOWED, WATCHED, TASKS_IN_FLIGHT, CONTENDED, SET_ASIDE] {
        let gauge = gauge!(name);
        gauge.increment(0);
    }
}
