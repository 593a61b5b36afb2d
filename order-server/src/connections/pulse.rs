//! Whether anything happens on a connection.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

/// Counts the requests of one connection.
#[derive(Default)]
pub(super) struct Pulse {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Pulse {
    /// Counts a request, until the guard is dropped.
    pub(super) fn beat(self: &Arc<Self>) -> Beat {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Beat(Arc::clone(self))
    }

    /// Returns when no request began by `time`; else never.
    pub(super) async fn never_begins(&self, time: Instant) {
        sleep_until(time).await;
        if self.begun.load(Ordering::Relaxed) > 0 {
            pending().await
        }
    }

    /// Returns when there was no request for `limit`, before it is twice as long.
    pub(super) async fn pauses(&self, limit: Duration) {
        loop {
            let (begun, ended) = self.counts();
            sleep(limit).await;
            if begun == ended && self.counts() == (begun, ended) {
                return;
            }
        }
    }

    fn counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.begun), count(&self.ended))
    }
}

/// A request that is being answered.
pub(super) struct Beat(Arc<Pulse>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_is_noticed() {
        let pulse = Arc::new(Pulse::default());
        let start = Instant::now();
        pulse.never_begins(start + LIMIT).await;
        assert_eq!(start.elapsed(), LIMIT);
        let _beat = pulse.beat();
        let noticed = timeout(LIMIT * 9, pulse.never_begins(start + LIMIT)).await;
        assert!(noticed.is_err(), "it asks something");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_noticed_and_a_long_request_is_none() {
        let pulse = Arc::new(Pulse::default());
        let beat = pulse.beat();
        let start = Instant::now();
        let ends = async {
            sleep(LIMIT * 5 / 2).await;
            drop(beat);
        };
        tokio::join!(pulse.pauses(LIMIT), ends);
        let after = start.elapsed() - LIMIT * 5 / 2;
        assert!(after >= LIMIT && after < LIMIT * 2, "{after:?}");
    }
}
