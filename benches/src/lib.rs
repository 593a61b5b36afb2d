//! Parts that the benchmarks and the report share: private servers, and load over HTTP.

pub mod http;
pub mod open_loop;
pub mod server;
