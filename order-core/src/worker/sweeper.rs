//! The sweeper: it offers orders again that a queue lost. A queue may lose everything at any time;
//! an order that is pending in the store and old enough was lost, or is offered once more than
//! needed, which does no harm.
//!
//! It goes through all that is old enough, page by page and on to what becomes so meanwhile, and
//! begins again when the age at which an order is offered is over since it came to the end: so it
//! offers none more often than that, however many wait, but for those that just came of age. As
//! long as most of what it offers was lost, it goes on without a pause. Of all workers on one
//! queue, one sweeps. When it stops, another does, and not before that age is over: so nothing is
//! offered more often for the sake of a change.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WorkerOptions;
use crate::{
    domain::OrderId,
    error::Error,
    metrics,
    queue::{OrderQueue, Topic},
    store::OrderStore,
};

/// The orders that are offered in one turn, unless most of them were lost.
const PAGE: usize = 10_000;

/// The memory of a sweeper between two turns.
#[derive(Debug, Default)]
struct Progress {
    pass: Option<Pass>,
    /// True when the last turn failed.
    is_failing: bool,
    /// The time until which others sweep, if they can.
    sits_out_until: Option<Instant>,
}

/// The position on the way through all pending orders.
#[derive(Debug, Default)]
struct Pass {
    /// The last that was offered.
    after: Option<OrderId>,
    /// The time at which there was nothing more, for the first time.
    ended: Option<Instant>,
}

impl Pass {
    /// Goes on behind what was offered. Once everything was, and `every` is over since, it
    /// begins anew: with what came to the queue and was lost, and with ids that came late.
    fn go_on(pass: &mut Option<Self>, every: Duration) -> &mut Self {
        let ended = pass.as_ref().and_then(|pass| pass.ended);
        if ended.is_some_and(|ended| ended.elapsed() >= every) {
            *pass = None;
        }
        pass.get_or_insert_default()
    }
}

pub(super) struct Sweeper {
    orders: Arc<dyn OrderStore>,
    queue: Arc<dyn OrderQueue>,
    options: WorkerOptions,
}

impl Sweeper {
    pub(super) fn new(
        orders: Arc<dyn OrderStore>,
        queue: Arc<dyn OrderQueue>,
        options: WorkerOptions,
    ) -> Self {
        Self {
            orders,
            queue,
            options,
        }
    }

    /// Sweeps at every interval until `stop` is cancelled.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut progress = Progress::default();
        let mut ticks = tokio::time::interval(self.options.sweep_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if progress
                .sits_out_until
                .is_some_and(|until| Instant::now() < until)
            {
                continue;
            }
            let swept = self.sweep(&mut progress, stop).await;
            let was_failing = std::mem::replace(&mut progress.is_failing, swept.is_err());
            match swept {
                Ok(0) => {}
                Ok(orders) => tracing::info!(orders, "offered again what was left behind"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    if was_failing {
                        tracing::debug!(error, "sweep failed");
                    } else {
                        tracing::warn!(error, "sweep failed, and is tried again");
                    }
                }
            }
        }
    }

    /// Offers a page of orders that were accepted too long ago and are still pending, and further
    /// pages as long as most of them were not on the queue; gives the number that were not.
    async fn sweep(
        &self,
        progress: &mut Progress,
        stop: &CancellationToken,
    ) -> Result<usize, Error> {
        let (age, interval) = (self.options.sweep_age, self.options.sweep_interval);
        let mut lost = 0;
        while !stop.is_cancelled() {
            if !self.queue.may_sweep(Topic::Validate, age).await? {
                progress.pass = None;
                break;
            }
            let pass = Pass::go_on(&mut progress.pass, age);
            let pending = self.orders.pending_for(age, pass.after, PAGE).await;
            if pending.is_err() {
                // It may be alone with it: another has its turn.
                progress.sits_out_until = Some(Instant::now() + age + 2 * interval);
            }
            let orders = pending?;
            let pushed = self.queue.push(Topic::Validate, &orders).await?;
            if pushed > 0 {
                metrics::swept(pushed);
            }
            lost += pushed;
            pass.after = orders.last().copied().or(pass.after);
            let is_full = orders.len() == PAGE;
            if !is_full {
                pass.ended.get_or_insert_with(Instant::now);
            }
            if !is_full || pushed < PAGE / 2 {
                break;
            }
        }
        Ok(lost)
    }
}
