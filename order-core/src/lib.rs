//! Sell stock under heavy concurrency, and never what is not there.
//!
//! The idea: **lock once per batch, decide in memory, write back once per table, answer after
//! the commit.** Concurrent requests share a transaction; the database stays the only truth.
//!
//! - [`service`]: what an application calls: products, orders, both ways to buy.
//! - [`worker`]: decides what was accepted; any number of processes.
//! - [`process`]: what follows a sale: tasks that are never lost, and who does them.
//! - [`watch`]: follows orders live, whichever process decides them.
//! - [`store`]: the traits of a database, and Postgres and `SQLite`.
//! - [`queue`]: the trait of a queue with leases; Redis Streams, and the two databases as one.
//! - [`cache`]: product reads through a cache, in the process or in Redis.
//! - [`stats`]: figures for operators, bounded in cost.
//! - [`keys`]: who may call, for a server that asks.
//! - [`decide`]: the decision itself, pure.
//! - [`supervise`]: what goes on when something panics.
//! - [`metrics`]: what is measured, for whoever collects it.
//! - [`domain`], [`clock`]: plain data, and time.
//! - `bench` (feature): the ways to sell, measured against each other.
//! - `testing` (feature): the conformance suite for whoever writes a backend.
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

#[cfg(feature = "bench")]
pub mod bench;
pub mod cache;
pub mod clock;
pub mod decide;
pub mod domain;
mod error;
pub mod keys;
pub mod metrics;
pub mod process;
pub mod queue;
mod redis_client;
pub mod service;
pub mod stats;
pub mod store;
pub mod supervise;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod trace;
pub mod watch;
pub mod worker;

pub use error::{Error, Source};
pub use redis_client::RedisClient;
pub use service::OrderService;
pub use worker::{Worker, WorkerOptions};
