//! A processor that does nothing, slowly: for trials.

use std::time::Duration;

use async_trait::async_trait;

use super::{OrderProcessor, ProcessError, Task};

/// Sleeps for each task.
#[derive(Clone, Copy, Debug)]
pub struct SimulatedProcessor {
    /// For how long.
    pub takes: Duration,
}

#[async_trait]
impl OrderProcessor for SimulatedProcessor {
    async fn process(&self, _: &Task) -> Result<(), ProcessError> {
        tokio::time::sleep(self.takes).await;
        Ok(())
    }
}
