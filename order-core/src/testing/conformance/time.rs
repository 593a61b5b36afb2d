//! The time of a backend.

use async_trait::async_trait;
use chrono::TimeDelta;

/// The time of a backend, to be moved instead of waited for.
#[async_trait]
pub trait Time: Send + Sync {
    /// Moves the clock of the backend forward; where it cannot be moved, makes everything older
    /// that the backend remembers.
    async fn advance(&self, by: TimeDelta);
}
