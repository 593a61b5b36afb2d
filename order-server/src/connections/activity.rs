//! The requests on a connection, and the times without any.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

/// Counts the requests of one connection.
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    /// When the last one ended, or else the connection began.
    last_end: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            last_end: Mutex::new(Instant::now()),
        }
    }
}

impl Activity {
    /// Counts a request as active until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> ActiveRequest {
        self.begun.fetch_add(1, Ordering::Relaxed);
        ActiveRequest(Arc::clone(self))
    }

    /// Returns at `time` when no request has begun by then; otherwise never.
    pub(super) async fn no_request_by(&self, time: Instant) {
        sleep_until(time).await;
        if self.begun.load(Ordering::Relaxed) > 0 {
            pending().await
        }
    }

    /// Returns when there was no request for `limit`, and before twice that time.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let (begun, ended) = self.counts();
            sleep(limit).await;
            if begun == ended && self.counts() == (begun, ended) {
                return;
            }
        }
    }

    /// Since when there is no request; none while there is one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let (begun, ended) = self.counts();
        let last_end = self.last_end.lock();
        (begun == ended).then(|| *last_end.unwrap_or_else(PoisonError::into_inner))
    }

    fn counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.begun), count(&self.ended))
    }
}

/// A request that is being answered.
pub(super) struct ActiveRequest(Arc<Activity>);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let last_end = self.0.last_end.lock();
        *last_end.unwrap_or_else(PoisonError::into_inner) = Instant::now();
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
        let activity = Arc::new(Activity::default());
        let start = Instant::now();
        activity.no_request_by(start + LIMIT).await;
        assert_eq!(start.elapsed(), LIMIT);
        let _active = activity.begin();
        let noticed = timeout(LIMIT * 9, activity.no_request_by(start + LIMIT)).await;
        assert!(noticed.is_err(), "it asks something");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_noticed_and_a_long_request_is_none() {
        let activity = Arc::new(Activity::default());
        let active = activity.begin();
        let start = Instant::now();
        let ends = async {
            sleep(LIMIT * 5 / 2).await;
            drop(active);
        };
        tokio::join!(activity.idle_for(LIMIT), ends);
        let after = start.elapsed() - LIMIT * 5 / 2;
        assert!(after >= LIMIT && after < LIMIT * 2, "{after:?}");
    }
}
