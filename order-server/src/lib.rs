//! The HTTP server of the order system: a thin layer over [`order_core`].
//!
//! - [`api`]: the operations, described to OpenAPI as they are implemented.
//! - [`auth`]: who calls, and what they may do.
//! - [`connections`]: what they may cost.
//! - [`http`]: what every request meets: limits, errors, request ids, the documents.
//! - [`metrics`]: what collects what is measured.
//! - [`config`]: settings from flags, environment and `orders.toml`.
//! - [`serve()`]: puts it together and runs until told to stop.
// What every request meets is one type, whose layers optimized builds go through by recursion.
#![recursion_limit = "256"]

pub mod api;
pub mod auth;
pub mod config;
pub mod connections;
pub mod http;
pub mod metrics;
mod serve;
pub mod telemetry;

pub use serve::{Server, serve, serve_metrics};
