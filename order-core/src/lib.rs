//! Sell stock under heavy concurrency, and never what is not there.
//!
//! The idea: **lock once per batch, decide in memory, write back once per table, answer after
//! the commit.** Concurrent requests share a transaction; the database stays the only truth.
//!
//! From the top down; no module uses one above it:
//!
//! - `bench` (feature): the ways to sell, measured against each other.
//! - `testing` (feature): the conformance suite for new backends.
//! - [`service`]: the operations that an application calls: products, orders, both ways to buy.
//! - [`worker`]: decides accepted orders and does post-sale tasks; any number of processes.
//! - [`watch`]: follows orders live, whichever process decides them.
//! - [`cache`]: product reads through a cache, in the process or in Redis.
//! - [`store`]: the traits of a database, and Postgres and `SQLite`.
//! - [`queue`]: the trait of a queue with leases; Redis Streams, and the two databases as one.
//! - [`supervise`]: parts go on when something in them panics.
//! - [`metrics`]: the measurements, for any collector.
//! - [`process`]: post-sale tasks that are never lost, and the processors that do them.
//! - [`history`]: orders that are at their end move to files.
//! - [`audit`]: who changed what.
//! - [`heartbeat`], [`stats`], [`keys`]: reports of workers, figures for operators, API keys.
//! - [`decision`]: the decision itself, pure.
//! - [`domain`], [`clock`]: plain data, and time.
//!
//! ```no_run
//! use std::sync::Arc;
//! use order_core::{OrderService, domain::{OrderRequest, ProductRequest, Quantity}, store};
//!
//! # async fn sell() -> Result<(), order_core::Error> {
//! let store = store::connect("sqlite://orders.db").await?;
//! store.migrate().await?;
//! let orders = OrderService::builder(store).build();
//! let lamp = ProductRequest::new("Lamp", "19.99".parse()?, 5, None)?;
//! let lamp = orders.create_product(lamp).await?;
//! let order = orders.purchase(OrderRequest::one(lamp.id, Quantity::new(1)?)).await?;
//! println!("{} for {}", order.status, order.total_price);
//! # Ok(())
//! # }
//! ```

#![warn(clippy::future_not_send, missing_debug_implementations)]
// Some of the rest is there for Postgres alone, and much of it for SQL databases: without them, it
// waits for a store from outside.
#![cfg_attr(not(feature = "postgres"), allow(dead_code, unused_imports))]

pub mod audit;
#[cfg(feature = "bench")]
pub mod bench;
pub mod cache;
pub mod clock;
pub mod decision;
pub mod domain;
mod error;
pub mod heartbeat;
pub mod history;
pub mod keys;
pub mod metrics;
pub mod process;
pub mod queue;
#[cfg(feature = "redis")]
mod redis_client;
pub mod service;
pub mod stats;
pub mod store;
pub mod supervise;
mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod trace;
pub mod verify;
pub mod watch;
pub mod worker;

pub use error::{Error, Source};
#[cfg(feature = "redis")]
pub use redis_client::RedisClient;
pub use service::OrderService;
pub use tokio_util::sync::CancellationToken;
pub use worker::{Worker, WorkerOptions};
