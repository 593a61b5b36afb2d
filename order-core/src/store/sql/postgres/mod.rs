//! Products and orders in Postgres.
//!
//! The lock order, kept by every transaction of this module: rows of `orders` first, in id
//! order; then tasks; then rows of `products`, in id order; nobody who holds a product row waits
//! for an order row or a task. Two transactions can therefore wait for each other in one direction
//! only.
//!
//! `FOR NO KEY UPDATE` is the lock of rows of orders and products: it excludes every other writer,
//! and lets the foreign key checks of rows that refer to the product pass. `docs/design/lock-order.md`
//! says which transaction locks what.

mod claim;
mod claim_cursor;
mod connections;
mod contended;
mod database;
mod decide;
mod due_cursor;
mod error;
mod history;
mod holds;
mod hosts;
mod keys;
mod migrate;
mod orders;
mod primary;
mod probe;
mod product_batches;
mod products;
mod purchase;
mod queue;
mod search;
mod session;
mod startup;
mod stats;
mod store;
mod task_batches;
mod task_leases;
mod tasks;
mod transaction;
mod writable;

#[cfg(feature = "bench")]
pub(crate) use decide::{CLAIM_OLDEST, WRITE_DECISIONS};
pub(super) use error::classify;
#[cfg(feature = "bench")]
pub(crate) use products::LOCK;
pub use queue::PostgresQueue;
pub use store::PostgresStore;
