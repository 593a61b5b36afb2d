//! The cost of statements, and its limit: `SQLite` has its steps counted as it goes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::SqliteConnection;

/// Steps of the virtual machine between two looks.
const STEPS: u16 = 1_000;

/// Counts the steps of connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    looks: Arc<AtomicU64>,
}

impl Meter {
    /// Counts the steps of a connection.
    pub(super) async fn count(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        self.look(connection, || true).await
    }

    /// Counts the steps of a connection, and interrupts what takes them after `limit`.
    pub(super) async fn limit(
        &self,
        connection: &mut SqliteConnection,
        limit: Duration,
    ) -> Result<(), sqlx::Error> {
        let start = Instant::now();
        self.look(connection, move || start.elapsed() < limit).await
    }

    async fn look(
        &self,
        connection: &mut SqliteConnection,
        may_go_on: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), sqlx::Error> {
        let looks = Arc::clone(&self.looks);
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(i32::from(STEPS), move || {
            looks.fetch_add(1, Ordering::Relaxed);
            may_go_on()
        });
        Ok(())
    }

    #[cfg(feature = "testing")]
    pub(super) fn steps(&self) -> u64 {
        self.looks.load(Ordering::Relaxed) * u64::from(STEPS)
    }
}
