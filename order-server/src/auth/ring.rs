//! The keys in force, by their hash, in memory.
//!
//! They are read again every two seconds: a key that is revoked is refused, and an open server
//! is closed by its first key, within five. While the database is away, the keys that were
//! known stay in force for a minute; then nobody can be told from anybody, and requests are
//! refused until it is back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use order_core::{
    Error,
    keys::{Access, HashedKey, KeyHash, KeyStore},
    store::Store,
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Holder;

/// With the limit of one reading, this stays below five seconds.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
const REFRESH_LIMIT: Duration = Duration::from_secs(2);
/// How long what was read stays in force when it cannot be read again.
const TRUSTED_FOR: Duration = Duration::from_secs(60);

/// Who sent a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Anybody, on a server without keys.
    Anybody,
    /// The holder of a key.
    Holder(Arc<Holder>),
    /// Somebody who showed no key, or one that is not in force.
    Stranger,
    /// Nobody knows: the keys could not be read for too long.
    Unknown,
}

impl Caller {
    /// Whose names for requests these are: callers with different keys may choose the same.
    pub(crate) fn scope(&self) -> Uuid {
        match self {
            Self::Holder(holder) => holder.key.id.0,
            Self::Anybody | Self::Stranger | Self::Unknown => Uuid::nil(),
        }
    }
}

type Holders = HashMap<KeyHash, Arc<Holder>>;

/// The keys that were read last, and when.
struct Snapshot {
    /// `None` on a server without keys.
    keys: Option<Holders>,
    read_at: Instant,
}

impl Snapshot {
    /// What was read at `read_at`. Who held a key `before` is still the same holder.
    fn new(access: Access, read_at: Instant, before: Option<&Self>) -> Self {
        let known = before.and_then(|before| before.keys.as_ref());
        let holder = |HashedKey { key, hash }| {
            let known = known.and_then(|known| known.get(&hash)).cloned();
            (hash, known.unwrap_or_else(|| Arc::new(Holder::new(key))))
        };
        let keys = match access {
            Access::Open => None,
            Access::Keys(keys) => Some(keys.into_iter().map(holder).collect()),
        };
        Self { keys, read_at }
    }

    fn caller(&self, shown: Option<&str>, now: Instant) -> Caller {
        if now.duration_since(self.read_at) > TRUSTED_FOR {
            return Caller::Unknown;
        }
        let Some(keys) = &self.keys else {
            return Caller::Anybody;
        };
        let key = shown.and_then(KeyHash::of).and_then(|hash| keys.get(&hash));
        key.map_or(Caller::Stranger, |holder| {
            Caller::Holder(Arc::clone(holder))
        })
    }
}

/// The keys in force. Requests read a snapshot and never wait.
pub struct KeyRing {
    store: Arc<dyn KeyStore>,
    snapshot: ArcSwap<Snapshot>,
}

impl KeyRing {
    /// The keys of `store`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, Error> {
        let store = store.key_store();
        let store = store.ok_or(Error::Unsupported { what: "API keys" })?;
        let read_at = Instant::now();
        let snapshot = Snapshot::new(store.access().await?, read_at, None);
        Ok(Self {
            store,
            snapshot: ArcSwap::from_pointee(snapshot),
        })
    }

    /// Whether no key was ever made, so that whoever asks may do everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.snapshot.load().keys.is_none()
    }

    /// Who shows this key, or none.
    #[must_use]
    pub fn caller(&self, shown: Option<&str>) -> Caller {
        self.snapshot.load().caller(shown, Instant::now())
    }

    /// Reads the keys again and again, until `stop` is cancelled.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        let mut ticks = interval(REFRESH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.refresh().await;
        }
    }

    async fn refresh(&self) {
        // What is read is at least as old as the question.
        let read_at = Instant::now();
        match timeout(REFRESH_LIMIT, self.store.access()).await {
            Ok(Ok(access)) => {
                let snapshot = Snapshot::new(access, read_at, Some(&self.snapshot.load()));
                self.snapshot.store(Arc::new(snapshot));
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "keys cannot be read; the known ones stay in force");
            }
            Err(_) => tracing::warn!("keys cannot be read in time; the known ones stay in force"),
        }
    }
}

#[cfg(test)]
mod tests {
    use order_core::{
        OrderService,
        keys::{KeyRequest, Scope, Secret},
        testing::PostgresServer,
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn known_keys_stay_in_force_while_the_database_is_away() {
        let store = Arc::new(PostgresServer::shared().store().await);
        let service = OrderService::builder(store.clone()).build();
        let request = KeyRequest::new("key", [Scope::Read].into_iter().collect()).unwrap();
        let (_, secret) = service.create_key(request).await.unwrap();
        let ring = KeyRing::load(store.clone()).await.unwrap();
        store.pool().close().await;
        ring.refresh().await;
        assert!(holder(&ring, &secret).is_some());
        assert!(matches!(ring.caller(None), Caller::Stranger));
    }

    fn holder(ring: &KeyRing, secret: &Secret) -> Option<Arc<Holder>> {
        match ring.caller(Some(secret.expose())) {
            Caller::Holder(holder) => Some(holder),
            _ => None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_holder_stays_the_same_when_keys_are_read_again() {
        let store = Arc::new(PostgresServer::shared().store().await);
        let service = OrderService::builder(store.clone()).build();
        let request = KeyRequest::new("key", [Scope::Read].into_iter().collect()).unwrap();
        let (_, secret) = service.create_key(request).await.unwrap();
        let ring = KeyRing::load(store).await.unwrap();
        let before = holder(&ring, &secret).unwrap();
        ring.refresh().await;
        assert!(Arc::ptr_eq(&before, &holder(&ring, &secret).unwrap()));
    }

    #[tokio::test]
    async fn what_was_read_is_in_force_for_a_minute() {
        let read_at = Instant::now();
        for access in [Access::Open, Access::Keys(vec![])] {
            let snapshot = Snapshot::new(access, read_at, None);
            let in_time = snapshot.caller(None, read_at + TRUSTED_FOR);
            assert!(!matches!(in_time, Caller::Unknown));
            let late = read_at + TRUSTED_FOR + Duration::from_millis(1);
            assert!(matches!(snapshot.caller(None, late), Caller::Unknown));
        }
    }
}
