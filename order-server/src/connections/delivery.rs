//! An answer on its way to the peer.
//!
//! Over HTTP/1.1 the time limit of writes notices a peer that takes nothing. Over HTTP/2 nothing is
//! written for a peer that opens no window, so that each answer keeps the time since which its next
//! part waits.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use super::activity::ActiveRequest;

/// How far an answer is.
struct Progress {
    /// The last time at which something happened.
    since: Instant,
    /// Parts that are not yet written to the connection.
    unsent_chunks: usize,
    /// The body may have more for the peer; it is asked when there is room.
    may_have_more: bool,
}

/// An answer whose request is active until it is dropped.
pub(super) struct Delivery {
    progress: Option<Arc<Mutex<Progress>>>,
    _active: ActiveRequest,
}

impl Delivery {
    /// Over HTTP/1.1.
    pub(super) fn unwatched(active: ActiveRequest) -> Self {
        Self {
            progress: None,
            _active: active,
        }
    }

    /// The body was asked, and gave a part, or has none at present.
    pub(super) fn asked(&self, gave_chunk: bool) {
        self.change(|progress| {
            progress.unsent_chunks += usize::from(gave_chunk);
            progress.may_have_more = gave_chunk;
        });
    }

    /// The peer took something of a part.
    pub(super) fn taken(&self) {
        self.change(|_| {});
    }

    /// All of a part is written.
    pub(super) fn sent(&self) {
        self.change(|progress| progress.unsent_chunks = progress.unsent_chunks.saturating_sub(1));
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = &self.progress {
            let mut progress = lock(progress);
            change(&mut progress);
            progress.since = Instant::now();
        }
    }
}

/// The answers on one connection over HTTP/2.
#[derive(Default)]
pub(super) struct Deliveries(Mutex<Vec<Weak<Mutex<Progress>>>>);

impl Deliveries {
    /// An answer that is ready from now on.
    pub(super) fn begin(&self, active: ActiveRequest) -> Delivery {
        let progress = Arc::new(Mutex::new(Progress {
            since: Instant::now(),
            unsent_chunks: 0,
            may_have_more: true,
        }));
        let mut all = lock(&self.0);
        all.retain(|each| each.strong_count() > 0);
        all.push(Arc::downgrade(&progress));
        Delivery {
            progress: Some(progress),
            _active: active,
        }
    }

    /// Returns when the peer has taken nothing of an answer for `limit`.
    pub(super) async fn stalled_for(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            match self.waiting_since() {
                Some(since) if now >= since + limit => return,
                Some(since) => sleep_until(since + limit).await,
                None => sleep(limit / 4).await,
            }
        }
    }

    /// Since when the answer that waits longest does.
    fn waiting_since(&self) -> Option<Instant> {
        let all = lock(&self.0);
        let waiting = all.iter().filter_map(Weak::upgrade).filter_map(|each| {
            let progress = lock(&each);
            let waits = progress.unsent_chunks > 0 || progress.may_have_more;
            waits.then_some(progress.since)
        });
        waiting.min()
    }
}

/// What the lock guards is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
