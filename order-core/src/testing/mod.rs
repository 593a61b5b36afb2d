//! Tests for backends, our own and those of others: one conformance suite, a naive reference store
//! to compare with, and private database servers. A failed expectation panics and says which.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Panicking is how a test tells.
// A test awaits the suite itself: what makes its stores need not be `Send`.
#![allow(clippy::future_not_send)]

pub mod conformance;
#[cfg(feature = "sqlite")]
mod corrupt_stock;
pub mod load;
pub mod model;
#[cfg(feature = "postgres")]
mod postgres_pair;
#[cfg(feature = "postgres")]
mod postgres_server;
mod process;
#[cfg(feature = "postgres")]
mod proxies;
#[cfg(feature = "redis")]
mod redis_server;
mod reference_store;
mod tcp_proxy;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod time;

#[cfg(feature = "sqlite")]
pub use corrupt_stock::corrupt_stock;
#[cfg(feature = "postgres")]
pub use postgres_pair::PostgresPair;
#[cfg(feature = "postgres")]
pub use postgres_server::PostgresServer;
pub use process::{Process, free_port};
#[cfg(feature = "postgres")]
pub use proxies::{HaProxy, Nginx, PgBouncer};
#[cfg(feature = "redis")]
pub use redis_server::{RedisServer, RedisTime};
pub use reference_store::ReferenceStore;
pub use tcp_proxy::TcpProxy;
#[cfg(feature = "postgres")]
pub use time::PostgresTime;
#[cfg(feature = "sqlite")]
pub use time::SqliteTime;
