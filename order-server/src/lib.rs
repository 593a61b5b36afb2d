//! The HTTP server of the order system: a thin layer over [`order_core`].
//!
//! From bottom to top:
//!
//! - `metrics`, `telemetry`: collect and export what happens.
//! - `http`: bodies, problems and headers that operations and middleware share.
//! - [`auth`]: API keys, callers and scopes.
//! - [`connections`]: the loop that accepts, and the limits of a connection.
//! - [`config`]: settings from flags, environment and `orders.toml`.
//! - `api`: the operations, described to OpenAPI as they are implemented.
//! - `middleware`: what every request passes: limits, origins, errors, request ids.
//! - `pages`: the dashboard, the documentation, `/metrics`.
//! - `app`: the routes behind the middleware.
//! - [`serve()`]: puts it together and runs until it is stopped.
//! - [`runtime`]: the parts that other programs share.
// The middleware is one nested type, through which optimized builds go by recursion.
#![recursion_limit = "256"]

mod api;
mod app;
pub mod auth;
pub mod config;
pub mod connections;
mod http;
mod metrics;
mod metrics_server;
mod middleware;
mod pages;
mod recent;
pub mod runtime;
mod serve;
mod telemetry;
mod upkeep;

pub use serve::{Server, serve};
