//! What the backends keep, each by itself. One program, because each costs a build and a Postgres.
//!
//! Tests that judge how long something takes, that take long themselves, or that look at the whole
//! process are programs of their own.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

#[path = "../shop/mod.rs"]
mod shop;

mod cache;
mod clocks;
mod confirmations;
mod examples;
mod history;
mod instant_tasks;
mod kept;
mod late;
mod minimal;
mod names;
mod newer_schema;
mod pages;
mod postgres;
mod queues;
mod schema;
mod search;
mod sqlite_file;
mod task_groups;
mod tasks;
mod verify;
mod watch;
mod workers;
