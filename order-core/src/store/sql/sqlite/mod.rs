//! Products and orders in a `SQLite` file.
//!
//! One connection writes, in transactions that take the write lock at once (`BEGIN
//! IMMEDIATE`), so that a decision reads under the lock. Other connections read, each from
//! the snapshot that its statement started with (WAL). `synchronous=FULL` makes every commit
//! durable. Batches go in as JSON arrays: one statement each, however many rows.
//!
//! - `writer`, `readers`: the connections, and the limits on their use.
//! - `turns`: how long tasks rest, and how many end at once.
//! - `file`: the check that the paths still lead to what is open.
//! - `meter`: the cost of statements.

mod claimed_orders;
mod database;
mod error;
mod file;
mod history;
mod holds;
mod keys;
mod meter;
mod orders;
mod product_batches;
mod products;
mod queue;
mod readers;
mod stats;
mod store;
mod task_batches;
mod tasks;
mod transaction;
mod turns;
mod writer;

pub(super) use error::classify;
pub use queue::SqliteQueue;
pub use store::SqliteStore;
