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

use super::{AuthenticatedKey, Caller, UntilEnd};

/// With the limit of one reading, this stays below five seconds.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
const REFRESH_LIMIT: Duration = Duration::from_secs(2);
/// The time for which keys stay in force when they cannot be read again.
const SNAPSHOT_TTL: Duration = Duration::from_secs(60);

type KeysByHash = HashMap<KeyHash, Arc<AuthenticatedKey>>;

/// Who is let in.
enum Doors {
    /// A server without keys lets everybody in.
    Open(UntilEnd),
    /// Once there was a key, only holders of keys are, as long as the process lives: whoever empties
    /// the table opens nothing.
    Closed(KeysByHash),
}

/// The keys that were read last, and when.
struct Snapshot {
    doors: Doors,
    read_at: Instant,
}

impl Snapshot {
    fn new(access: Access, read_at: Instant) -> Self {
        let fresh = |HashedKey { key, hash }| (hash, Arc::new(AuthenticatedKey::new(key)));
        let doors = match access {
            Access::Open => Doors::Open(UntilEnd::default()),
            Access::Keys(keys) => Doors::Closed(keys.into_iter().map(fresh).collect()),
        };
        Self { doors, read_at }
    }

    /// What was read after this snapshot. A key that was known keeps its rate; the rights that no
    /// longer hold end.
    fn followed_by(&self, access: Access, read_at: Instant) -> Self {
        let mut next = Self::new(access, read_at);
        match (&self.doors, &mut next.doors) {
            (Doors::Open(known), Doors::Open(until_end)) => until_end.clone_from(known),
            (Doors::Open(known), Doors::Closed(_)) => known.end(),
            (Doors::Closed(known), Doors::Closed(keys)) => {
                for (hash, key) in keys.iter_mut() {
                    match known.get(hash) {
                        Some(known) if known.key == key.key => *key = Arc::clone(known),
                        Some(known) => *key = Arc::new(known.changed(key.key.clone())),
                        None => {}
                    }
                }
                end_missing(known, keys);
            }
            (Doors::Closed(known), Doors::Open(_)) => {
                let nobody = KeysByHash::new();
                end_missing(known, &nobody);
                next.doors = Doors::Closed(nobody);
            }
        }
        next
    }

    fn caller(&self, shown: Option<&str>, now: Instant) -> Caller {
        if now.duration_since(self.read_at) > SNAPSHOT_TTL {
            return Caller::KeysUnavailable;
        }
        let keys = match &self.doors {
            Doors::Open(until_end) => return Caller::AuthDisabled(until_end.clone()),
            Doors::Closed(keys) => keys,
        };
        let key = shown.and_then(KeyHash::of).and_then(|hash| keys.get(&hash));
        key.map_or(Caller::Unauthenticated, |key| Caller::Key(Arc::clone(key)))
    }
}

/// Ends the rights of the keys that are no longer as they were known.
fn end_missing(known: &KeysByHash, keys: &KeysByHash) {
    for (hash, key) in known {
        if keys.get(hash).is_none_or(|now| !Arc::ptr_eq(now, key)) {
            key.until_end.end();
        }
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
        let snapshot = Snapshot::new(store.access().await?, read_at);
        Ok(Self {
            store,
            snapshot: ArcSwap::from_pointee(snapshot),
        })
    }

    /// Tells whether no key was ever made, so that every caller may do everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.snapshot.load().doors, Doors::Open(_))
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
                let snapshot = self.snapshot.load().followed_by(access, read_at);
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
    use futures_util::FutureExt;
    use order_core::{
        OrderService,
        domain::KeyId,
        keys::{ApiKey, KeyRequest, Scope, Secret},
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

    /// A key with these scopes, and what its holder shows.
    fn hashed(scopes: &str) -> (HashedKey, Secret) {
        let secret = Secret::generate().unwrap();
        let hash = KeyHash::of(secret.expose()).unwrap();
        let key = ApiKey {
            id: KeyId(uuid::Uuid::from_u128(7)),
            name: "key".to_owned(),
            scopes: scopes.parse().unwrap(),
            created_at: chrono::DateTime::UNIX_EPOCH,
            revoked_at: None,
        };
        (HashedKey { key, hash }, secret)
    }

    fn key_of(snapshot: &Snapshot, secret: &Secret) -> Arc<AuthenticatedKey> {
        match snapshot.caller(Some(secret.expose()), snapshot.read_at) {
            Caller::Key(key) => key,
            other => panic!("{other:?}"),
        }
    }

    fn has_ended(caller: Caller) -> bool {
        caller.ended().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_server_that_is_closed_stays_closed() {
        let now = Instant::now();
        let (key, secret) = hashed("read");
        let open = Snapshot::new(Access::Open, now);
        let anybody = open.caller(None, now);
        let still_open = open.followed_by(Access::Open, now);
        assert!(!has_ended(anybody.clone()));
        let closed = still_open.followed_by(Access::Keys(vec![key]), now);
        assert!(has_ended(anybody), "the first key ends what anybody may do");
        let holder = closed.caller(Some(secret.expose()), now);
        assert!(!has_ended(holder.clone()));
        let emptied = closed.followed_by(Access::Open, now);
        for shown in [None, Some(secret.expose())] {
            let caller = emptied.caller(shown, now);
            assert!(matches!(caller, Caller::Unauthenticated), "{caller:?}");
        }
        assert!(has_ended(holder));
    }

    #[tokio::test]
    async fn narrowed_scopes_count_at_the_next_reading() {
        let now = Instant::now();
        let (wide, secret) = hashed("read admin");
        let mut narrow = wide.clone();
        narrow.key.scopes = "read".parse().unwrap();
        let before = Snapshot::new(Access::Keys(vec![wide]), now);
        let known = key_of(&before, &secret);
        let after = before.followed_by(Access::Keys(vec![narrow]), now);
        let changed = key_of(&after, &secret);
        assert_eq!(changed.key.scopes.to_string(), "read");
        assert!(
            Arc::ptr_eq(&known.bucket, &changed.bucket),
            "its rate goes on"
        );
        assert!(has_ended(Caller::Key(known)));
        assert!(!has_ended(Caller::Key(changed)));
    }

    #[tokio::test]
    async fn what_was_read_is_in_force_for_a_minute() {
        let read_at = Instant::now();
        for access in [Access::Open, Access::Keys(vec![])] {
            let snapshot = Snapshot::new(access, read_at);
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
