//! Tests for backends, our own and those of others: one conformance suite, a naive reference store
//! to compare with, and private database servers. A failed expectation panics and says which.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Panicking is how a test tells.

pub mod conformance;
mod corrupt_stock;
pub mod load;
pub mod model;
mod postgres_pair;
mod postgres_server;
mod process;
mod proxies;
mod redis_server;
mod reference_store;
mod tcp_proxy;
mod time;

pub use corrupt_stock::corrupt_stock;
pub use postgres_pair::PostgresPair;
pub use postgres_server::PostgresServer;
pub use process::{Process, free_port};
pub use proxies::{HaProxy, PgBouncer};
pub use redis_server::{RedisServer, RedisTime};
pub use reference_store::ReferenceStore;
pub use tcp_proxy::TcpProxy;
pub use time::{PostgresTime, SqliteTime};
