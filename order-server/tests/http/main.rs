//! What the server answers, and to whom. One program, because each costs a build and a Postgres.
//!
//! Tests that judge how long something takes, or that look at the whole process (its counters,
//! descriptors, memory and log), are programs of their own.

#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

#[path = "../shop/mod.rs"]
mod shop;

mod api;
mod bad_input;
mod bulk;
mod headers;
mod holds;
mod idempotency;
mod keys;
mod lists;
mod live_stock;
mod nginx;
mod openapi;
mod operate;
mod pages;
mod preconditions;
mod rate_limit;
mod terms;
mod tls;
mod traces;
mod webhook;
