//! Samples of the backends, bounded however often somebody asks: all who ask within a second share
//! one, and one that hangs is joined, not repeated: it costs one connection at most.

use std::{sync::Mutex, time::Duration};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;

use crate::{queue::QueueStats, store::Backlog, sync::lock};

/// The time for which a sample is good for others who ask.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// A sample of the backends; `None` where one gave an error instead.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) backlog: Option<Backlog>,
    /// Where the database is the queue, its topic `validate` is the backlog.
    pub(super) validate: Option<QueueStats>,
    pub(super) process: Option<QueueStats>,
}

/// Takes samples: the one that is under way, or was the last, is shared.
#[derive(Default)]
pub(super) struct BackendSampler {
    last: Mutex<Option<(Instant, Shared<BoxFuture<'static, Sample>>)>>,
}

impl BackendSampler {
    /// Joins the sample that is under way or was just taken, or takes another with `take`.
    pub(super) fn sample(
        &self,
        take: impl FnOnce() -> BoxFuture<'static, Sample>,
    ) -> Shared<BoxFuture<'static, Sample>> {
        let mut last = lock(&self.last);
        match last.as_ref() {
            Some((began, sample)) if sample.peek().is_none() || began.elapsed() < FRESH_FOR => {
                sample.clone()
            }
            _ => {
                let sample = take().shared();
                *last = Some((Instant::now(), sample.clone()));
                sample
            }
        }
    }
}
