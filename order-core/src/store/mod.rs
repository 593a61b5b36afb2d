//! Databases of products and orders: the traits, and their Postgres and SQLite implementations.
//!
//! Each method is one atomic step: it has happened wholly or not at all when it returns,
//! it is durable when it returns `Ok`, and no transaction is ever handed out. Ids and
//! times come from the caller, so that a step whose commit was in doubt can be made again
//! with the same ids and finds itself already done.

mod connect;
mod connect_options;
mod contention;
mod database;
mod orders;
mod products;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
mod strategy;

pub use crate::decision::Decided;
pub use connect::{connect, connect_with};
pub use connect_options::ConnectOptions;
pub use contention::Contention;
pub use database::{PoolStats, Store};
pub use orders::{
    Backlog, Cancelled, Expired, LapsedAt, OrderQuery, OrderStore, Outcome, Purchase, Selection,
};
pub use products::{ProductQuery, ProductStore};
#[cfg(feature = "bench")]
pub(crate) use sql::postgres_statements;
#[cfg(feature = "postgres")]
pub use sql::{PostgresQueue, PostgresStore};
#[cfg(feature = "sqlite")]
pub use sql::{SqliteQueue, SqliteStore};
pub use strategy::Strategy;
