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

use std::path::Path;

use tempfile::TempDir;

use measured::take_turns;
pub use measured::{Bar, Measured};

/// A folder beside what is built, on a disk, and the URL of a new `SQLite` file in it.
fn sqlite_file() -> anyhow::Result<(TempDir, String)> {
    let dir = tempfile::tempdir_in(Path::new("target"))?;
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    Ok((dir, url))
}
