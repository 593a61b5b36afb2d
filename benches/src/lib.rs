//! Parts that the benchmarks and the report share: private servers, and load over HTTP.

pub mod holding;
pub mod http;
pub mod open_loop;
pub mod server;
