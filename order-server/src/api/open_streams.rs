//! The event streams that are open, by who opened them. When somebody has too many, the one ends
//! that was quiet for longest: its client may be gone, and if not, it comes back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::account::Account;

/// All streams.
pub(super) struct OpenStreams {
    /// The most of one account.
    most: usize,
    by_account: Mutex<HashMap<Account, Vec<Arc<Stream>>>>,
}

struct Stream {
    /// The time of its last event, or of its begin.
    quiet_since: Mutex<Instant>,
    end: CancellationToken,
}

/// A stream that is open until this is dropped.
pub(super) struct OpenStream {
    all: Arc<OpenStreams>,
    account: Account,
    stream: Arc<Stream>,
}

impl OpenStreams {
    /// Lets each account have this many, and one at least.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            by_account: Mutex::default(),
        })
    }

    /// Opens a stream for `account`.
    pub(super) fn open(self: &Arc<Self>, account: Account) -> OpenStream {
        let stream = Arc::new(Stream {
            quiet_since: Mutex::new(Instant::now()),
            end: CancellationToken::new(),
        });
        let mut by_account = lock(&self.by_account);
        let own = by_account.entry(account).or_default();
        if own.len() >= self.most {
            let quietest = (0..own.len()).min_by_key(|at| *lock(&own[*at].quiet_since));
            if let Some(at) = quietest {
                own.swap_remove(at).end.cancel();
            }
        }
        own.push(Arc::clone(&stream));
        OpenStream {
            all: Arc::clone(self),
            account,
            stream,
        }
    }
}

impl OpenStream {
    /// It has an event.
    pub(super) fn has_event(&self) {
        *lock(&self.stream.quiet_since) = Instant::now();
    }

    /// Is cancelled when the stream has to end.
    pub(super) fn end(&self) -> CancellationToken {
        self.stream.end.clone()
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut by_account = lock(&self.all.by_account);
        if let Some(own) = by_account.get_mut(&self.account) {
            own.retain(|stream| !Arc::ptr_eq(stream, &self.stream));
            if own.is_empty() {
                by_account.remove(&self.account);
            }
        }
    }
}

/// What the lock guards is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_quietest_stream_of_the_same_account_ends_for_one_too_many() {
        let streams = OpenStreams::new(2);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let open = |id| streams.open(Account::Key(id));
        let (first, elsewhere) = (open(one), open(other));
        advance(Duration::from_secs(1)).await;
        let second = open(one);
        advance(Duration::from_secs(1)).await;
        first.has_event();
        let third = open(one);
        let ended = [&first, &second, &third, &elsewhere].map(|one| one.end().is_cancelled());
        assert_eq!(ended, [false, true, false, false]);
        drop(first);
        let fourth = open(one);
        assert!(!third.end().is_cancelled(), "there is room");
        drop((second, third, fourth, elsewhere));
        assert!(lock(&streams.by_account).is_empty());
    }
}
