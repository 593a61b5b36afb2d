//! Stores in SQL databases.
//!
//! There is one transaction script for each use case, which is written once and read from top to
//! bottom. The scripts execute statements on the seam that `backend` describes, and each database
//! has a folder with what is its own: its statements, connections, and ways to be faster.

mod accept;
mod audit;
mod audit_row;
mod backend;
mod cancel;
mod changes;
mod currency;
mod customers;
mod dead_letters;
mod decide;
mod erase;
mod error;
mod error_class;
mod filtered_products;
mod gate;
mod history;
mod history_statements;
mod holds;
mod idempotency;
mod idempotency_record;
mod keys;
mod lockable;
mod migrations;
mod names;
mod order_store;
mod orders;
mod plan;
#[cfg(feature = "postgres")]
mod postgres;
mod product_batches;
mod product_store;
mod products;
mod purchase;
mod queue;
mod queue_counts;
mod retry;
mod returns;
mod row;
mod rows;
mod sorted;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statements;
mod stats;
mod stock;
mod stock_history;
mod tasks;
mod value;
mod verify;
mod workers;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresQueue, PostgresStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteQueue, SqliteStore};

/// Statements that are measured without the library around them.
#[cfg(feature = "bench")]
pub(crate) mod postgres_statements {
    pub(crate) use super::postgres::{CLAIM_OLDEST, LOCK, WRITE_DECISIONS};
}
