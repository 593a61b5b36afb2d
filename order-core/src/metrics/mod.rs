//! Measurements, through the facade of the crate `metrics`: the embedding program picks the
//! collector, and without one they cost nothing.
//!
//! The fate of orders is recorded once per transaction, however many of them share it: a
//! few atomic additions for a batch of one as for one of a thousand. Figures that have
//! to be asked for, as the length of a queue, are asked for when somebody reads them
//! ([`OrderService::observe`](crate::OrderService::observe)).
//!
//! Every series whose labels are known is there from the start, at zero: an alert on a rate
//! does not miss the first event.

mod describe;
mod labels;
mod names;
pub(crate) mod part;
mod record;

pub use describe::describe;
pub(crate) use labels::Operation;
pub use names::HISTOGRAMS;
pub(crate) use names::{
    CACHE_ENTRIES, CACHE_ERRORS, CACHE_READS, FOLLOW_QUERIES, FOLLOWED, PENDING, PENDING_AGE, POOL,
    POOL_MAX, QUEUE_AGE, QUEUE_ENTRIES, QUEUE_PAUSED, UP, WAITING, WATCH_QUERIES, WATCHED,
};
pub(crate) use record::{
    accepted, confirmed, contended, contention_ended, decided, expired, float, not_aside, panicked,
    purchased, put_off, retried, set_aside, signed, swept, tasks_came, tasks_ended, tasks_left,
};
