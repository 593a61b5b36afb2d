//! For whoever writes a backend, and for our own: one conformance suite, a naive twin to
//! compare with, and private database servers. A failed expectation panics and says which.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Panicking is how a test tells.

pub mod conformance;
pub mod load;
pub mod model;
mod postgres_pair;
mod postgres_server;
mod process;
mod proxies;
mod redis_server;
mod tcp_proxy;
mod time;
mod twin;

pub use postgres_pair::PostgresPair;
pub use postgres_server::PostgresServer;
pub use process::{Process, free_port};
pub use proxies::{HaProxy, PgBouncer};
pub use redis_server::{RedisServer, RedisTime};
pub use tcp_proxy::TcpProxy;
pub use time::{PostgresTime, SqliteTime};
pub use twin::Twin;

/// Takes pieces off a product of a `SQLite` file without an entry in the books: what `verify`
/// is there to find.
///
/// # Panics
/// When the file is not there.
pub async fn steal(url: &str, id: crate::domain::ProductId, pieces: i64) {
    let pool = sqlx::SqlitePool::connect(url).await.unwrap();
    sqlx::query("UPDATE products SET stock = stock - ?2 WHERE id = ?1")
        .bind(id.0)
        .bind(pieces)
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}
