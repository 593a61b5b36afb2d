//! The cases of the report, and their tables.

pub mod burst;
pub mod dashboard;
pub mod database;
pub mod follow;
mod measured;
pub mod over_http;
pub mod overload;
pub mod pages;
mod pgbench;
pub mod plot;
pub mod sustained;

use measured::take_turns;
pub use measured::{Bar, Measured};
