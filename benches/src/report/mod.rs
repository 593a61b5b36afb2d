//! The cases of the report, and their tables.

pub mod burst;
pub mod dashboard;
pub mod database;
pub mod expiry;
pub mod follow;
mod measured;
pub mod over_http;
pub mod overload;
pub mod pages;
mod pgbench;
pub mod plot;
pub mod soak;
pub mod sustained;
pub mod terms;
pub mod whole_life;

use std::path::Path;

use order_core::testing::PostgresServer;
use tempfile::TempDir;

use measured::take_turns;
pub use measured::{Bar, Measured};

/// A folder beside what is built, on a disk, and the URL of a new `SQLite` file in it.
fn sqlite_file() -> anyhow::Result<(TempDir, String)> {
    let dir = tempfile::tempdir_in(Path::new("target"))?;
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    Ok((dir, url))
}

/// A database for one run, and what has to live as long.
enum Place<'a> {
    Postgres(&'a PostgresServer),
    Sqlite,
}

impl Place<'_> {
    async fn url(&self) -> anyhow::Result<(String, Option<TempDir>)> {
        Ok(match self {
            Self::Postgres(server) => (server.database().await, None),
            Self::Sqlite => {
                let (dir, url) = sqlite_file()?;
                (url, Some(dir))
            }
        })
    }
}
