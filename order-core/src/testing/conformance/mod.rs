//! The conformance suite: the checks that every store and every queue must pass, whatever it is
//! made of.
//!
//! A store that only sells passes [`products_and_orders`]; each further part that it has has a
//! suite of its own, and [`store`] is all of them. Each check gets a new, empty backend from
//! `fresh`, and a handle that moves its clock.
//!
//! Orders are made with times that lie far from those of the backend, as servers do whose
//! clocks are wrong: nothing but what people read may go by them.

mod audit;
mod filters;
mod fixture;
mod held_returns;
mod holds;
mod idempotency;
mod keys;
mod names;
mod order_versions;
mod orders;
mod packed_tasks;
mod products;
mod progress;
mod queue;
mod races;
mod returns;
mod stats;
mod stock_minutes;
mod suite;
mod tasks;
mod terms;
mod time;
mod waiting_tasks;
mod workers;

pub use fixture::start;
pub use suite::{
    audit, holds, keys, products_and_orders, queue, returns, stats, store, tasks, workers,
};
pub use time::Time;
