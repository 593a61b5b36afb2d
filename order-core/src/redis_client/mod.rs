//! A connection to Redis, one server or a cluster, that never makes anybody wait for long.
//!
//! Redis is optional: everything that goes through here may fail, and fails fast. After a
//! failure the circuit is open for a moment: calls fail at once, without asking, until one
//! of them is let through to find out whether Redis is back. So a Redis that hangs costs one
//! time-out, not one for every request.
//!
//! A connection that did not answer in time is given up, and the next call makes a new one: it
//! may have been the connection that fell silent, and not Redis. Each purpose (the queue, claims
//! that wait, the cache) has a connection and a circuit of its own, so that a slow answer to one
//! stops none of the others.

mod abandoned;
mod address;
mod circuit;
mod client;
mod condition;
mod fault;
mod millis;
mod shared;

pub use client::RedisClient;
pub(crate) use millis::millis;
