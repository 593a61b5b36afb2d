//! The keys in force, by their hash, in memory.
//!
//! They are read again every two seconds: a revoked key is refused, and the first key closes an
//! open server, within five. While the database is away, the keys that were known stay in force
//! for a minute; then no key can be checked, and requests are refused until it is back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use order_core::{
    Error,
    keys::{Access, HashedKey, KeyHash, KeyStore},
    store::Store,
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{AuthenticatedKey, Caller};

/// With the limit of one reading, this stays below five seconds.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
const REFRESH_LIMIT: Duration = Duration::from_secs(2);
/// The time for which keys stay in force when they cannot be read again.
const SNAPSHOT_TTL: Duration = Duration::from_secs(60);

type KeysByHash = HashMap<KeyHash, Arc<AuthenticatedKey>>;

/// The keys that were read last, and when.
struct Snapshot {
    /// `None` on a server without keys.
    keys: Option<KeysByHash>,
    read_at: Instant,
}

impl Snapshot {
    /// The keys that were read at `read_at`. A key that was known `before` keeps its rate.
    fn new(access: Access, read_at: Instant, before: Option<&Self>) -> Self {
        let known = before.and_then(|before| before.keys.as_ref());
        let keep = |HashedKey { key, hash }| {
            let known = known.and_then(|known| known.get(&hash)).cloned();
            (
                hash,
                known.unwrap_or_else(|| Arc::new(AuthenticatedKey::new(key))),
            )
        };
        let keys = match access {
            Access::Open => None,
            Access::Keys(keys) => Some(keys.into_iter().map(keep).collect()),
        };
        Self { keys, read_at }
    }

    fn caller(&self, shown: Option<&str>, now: Instant) -> Caller {
        if now.duration_since(self.read_at) > SNAPSHOT_TTL {
            return Caller::KeysUnavailable;
        }
        let Some(keys) = &self.keys else {
            return Caller::AuthDisabled;
        };
        let key = shown.and_then(KeyHash::of).and_then(|hash| keys.get(&hash));
        key.map_or(Caller::Unauthenticated, |key| Caller::Key(Arc::clone(key)))
    }
}

/// The keys in force. Requests read a snapshot and never wait.
pub struct KeyCache {
    store: Arc<dyn KeyStore>,
    snapshot: ArcSwap<Snapshot>,
}

impl KeyCache {
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

    /// Tells whether no key was ever made, so that every caller may do everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.snapshot.load().keys.is_none()
    }

    /// The caller with this key, or without one.
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
        // The answer is at least as old as the question.
        let read_at = Instant::now();
        match timeout(REFRESH_LIMIT, self.store.access()).await {
            Ok(Ok(access)) => {
                let snapshot = Snapshot::new(access, read_at, Some(&self.snapshot.load()));
                self.snapshot.store(Arc::new(snapshot));
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot read the API keys; the known ones stay in force");
            }
            Err(_) => {
                tracing::warn!("cannot read the API keys in time; the known ones stay in force")
            }
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
        let cache = KeyCache::load(store.clone()).await.unwrap();
        store.pool().close().await;
        cache.refresh().await;
        assert!(authenticated(&cache, &secret).is_some());
        assert!(matches!(cache.caller(None), Caller::Unauthenticated));
    }

    fn authenticated(cache: &KeyCache, secret: &Secret) -> Option<Arc<AuthenticatedKey>> {
        match cache.caller(Some(secret.expose())) {
            Caller::Key(key) => Some(key),
            _ => None,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_stays_the_same_when_keys_are_read_again() {
        let store = Arc::new(PostgresServer::shared().store().await);
        let service = OrderService::builder(store.clone()).build();
        let request = KeyRequest::new("key", [Scope::Read].into_iter().collect()).unwrap();
        let (_, secret) = service.create_key(request).await.unwrap();
        let cache = KeyCache::load(store).await.unwrap();
        let before = authenticated(&cache, &secret).unwrap();
        cache.refresh().await;
        assert!(Arc::ptr_eq(
            &before,
            &authenticated(&cache, &secret).unwrap()
        ));
    }

    #[tokio::test]
    async fn what_was_read_is_in_force_for_a_minute() {
        let read_at = Instant::now();
        for access in [Access::Open, Access::Keys(vec![])] {
            let snapshot = Snapshot::new(access, read_at, None);
            let in_time = snapshot.caller(None, read_at + SNAPSHOT_TTL);
            assert!(!matches!(in_time, Caller::KeysUnavailable));
            let late = read_at + SNAPSHOT_TTL + Duration::from_millis(1);
            assert!(matches!(
                snapshot.caller(None, late),
                Caller::KeysUnavailable
            ));
        }
    }
}
