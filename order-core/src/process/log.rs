//! A processor that writes a line in the log.

use async_trait::async_trait;

use super::{OrderProcessor, ProcessError, Task};

/// Writes a line in the log for each task.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogProcessor;

#[async_trait]
impl OrderProcessor for LogProcessor {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        tracing::info!(id = %task.id(), attempt = task.attempt, "sold");
        Ok(())
    }

    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        tracing::info!(id = %task.id(), attempt = task.attempt, "cancelled");
        Ok(())
    }
}
