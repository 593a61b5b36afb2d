//! The names of all series, and the buckets of the histograms.

pub(crate) const ACCEPTED: &str = "orders_accepted_total";
pub(crate) const DECIDED: &str = "orders_decided_total";
pub(crate) const HOLDS_ENDED: &str = "orders_holds_ended_total";
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
pub(crate) const WATCHED: &str = "orders_watched_products";
pub(crate) const WATCH_QUERIES: &str = "orders_watch_queries_total";
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
