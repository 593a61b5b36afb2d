//! The loops that decide: one always looks for work, and further ones help it with a backlog.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{batch_source::BatchSource, heartbeat::HeartbeatSender};
use crate::{metrics::part, queue::Topic, supervise::supervise};

/// The pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// The parts of a worker that decide.
pub(super) struct DecideLoop<'a> {
    pub(super) source: &'a BatchSource,
    pub(super) heartbeat: &'a HeartbeatSender,
    pub(super) wake: &'a Notify,
    pub(super) idle_poll: Duration,
    /// Notified when one batch at a time is not enough.
    pub(super) more: Notify,
}

impl DecideLoop<'_> {
    /// Decides until `stop` is cancelled. Each loop goes on when another panics.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let first = supervise(part::DECIDE, || self.look_for_work(stop));
        let further = (1..self.source.max_concurrent_batches())
            .map(|_| supervise(part::DECIDE, move || self.help(stop)));
        tokio::join!(first, join_all(further));
        let finished = supervise(part::DECIDE, || self.source.finish());
        // Others take over what is left.
        if let Err(error) = finished.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "not all was finished");
        }
    }

    /// Waits until there is no pause; false once `stop` is cancelled.
    async fn may_decide(&self, stop: &CancellationToken) -> bool {
        let opened = self.heartbeat.opened(Topic::Validate);
        stop.run_until_cancelled(opened).await.is_some() && !stop.is_cancelled()
    }

    async fn look_for_work(&self, stop: &CancellationToken) {
        while self.may_decide(stop).await {
            let start = Instant::now();
            let pause = match self.source.step().await {
                Ok(step) => {
                    if step.full {
                        self.more.notify_waiters();
                    }
                    if !step.idle {
                        continue;
                    }
                    // A queue that can wait has waited already.
                    self.idle_poll.saturating_sub(start.elapsed())
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "deciding failed");
                    FAILURE_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Works as long as there is more than one batch, and waits until there is.
    async fn help(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.more.notified() => {}
            }
            // The first loop meets the same failures, which it logs and waits for.
            while let Ok(step) = self.source.step().await {
                if !step.full || stop.is_cancelled() || !self.heartbeat.is_open(Topic::Validate) {
                    break;
                }
            }
        }
    }
}
