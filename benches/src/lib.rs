//! What the benchmarks and the report share: servers of their own, and load over HTTP.

pub mod http;
pub mod open_loop;
pub mod server;
