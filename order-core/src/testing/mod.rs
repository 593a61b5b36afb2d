//! For whoever writes a backend, and for our own: one conformance suite, a naive twin to
//! compare with, and private database servers. A failed expectation panics and says which.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Panicking is how a test tells.

pub mod conformance;
pub mod load;
pub mod model;
mod postgres_server;
mod twin;

pub use postgres_server::PostgresServer;
pub use twin::Twin;
