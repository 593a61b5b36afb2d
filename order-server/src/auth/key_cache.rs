//! The keys in force, by their hash, in memory.
//!
//! They are read again every two seconds: a revoked key is refused, and the first key closes an
//! open server, within five. While the database is away, the keys that were known stay in force
//! for a minute; then no key can be checked, and requests are refused until it is back.
//!
//! That a key was used is a flag in memory, which requests set. Beside the reading, the uses of at
//! least a minute since the last one are written, by one statement.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use order_core::{
    Error,
    domain::KeyId,
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
/// The time within which one use of a key is written, at most.
const WRITE_USE_EVERY: Duration = Duration::from_secs(60);

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
        let fresh = |key: HashedKey| (key.hash, Arc::new(AuthenticatedKey::new(key)));
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
                        Some(known) if known.allows_the_same(key) => *key = Arc::clone(known),
                        Some(known) => *key = Arc::new(known.changed(key)),
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
        match key {
            None => Caller::Unauthenticated,
            Some(key) if key.is_expired => Caller::Expired,
            Some(key) => {
                key.note_use();
                Caller::Key(Arc::clone(key))
            }
        }
    }

    /// The keys that were used, of those that are `due`; from now on, only later uses count.
    fn take_used(&self, due: impl Fn(KeyId) -> bool) -> Vec<KeyId> {
        let keys = match &self.doors {
            Doors::Open(_) => return Vec::new(),
            Doors::Closed(keys) => keys.values(),
        };
        let used = keys.filter(|key| due(key.key.id) && key.take_use());
        used.map(|key| key.key.id).collect()
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

/// When the use of each key was written last.
type Noted = HashMap<KeyId, Instant>;

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
        let mut noted = Noted::new();
        let mut ticks = interval(REFRESH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.refresh().await;
            self.write_uses(&mut noted).await;
        }
    }

    /// Writes which keys were used. What cannot be written is lost: it is for people to read, and
    /// the next use comes.
    async fn write_uses(&self, noted: &mut Noted) {
        noted.retain(|_, at| at.elapsed() < WRITE_USE_EVERY);
        let snapshot = self.snapshot.load_full();
        let used = snapshot.take_used(|id| !noted.contains_key(&id));
        if used.is_empty() {
            return;
        }
        match timeout(REFRESH_LIMIT, self.store.note_use(&used)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot write the use of API keys"),
            Err(_) => tracing::debug!("cannot write the use of API keys in time"),
        }
        let now = Instant::now();
        noted.extend(used.into_iter().map(|id| (id, now)));
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
        domain::ClientId,
        keys::{ApiKey, KeyRequest, Scope, Secret},
        testing::{PostgresServer, ReferenceStore},
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
            client_id: ClientId(uuid::Uuid::from_u128(8)),
            client: "client".to_owned(),
            scopes: scopes.parse().unwrap(),
            created_at: chrono::DateTime::UNIX_EPOCH,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        let is_expired = false;
        let hashed = HashedKey {
            key,
            hash,
            is_expired,
        };
        (hashed, secret)
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
    async fn a_key_ends_when_its_time_is_over() {
        let now = Instant::now();
        let (key, secret) = hashed("read");
        let valid = Snapshot::new(Access::Keys(vec![key.clone()]), now);
        let holder = Caller::Key(key_of(&valid, &secret));
        // That its use was written changes nothing for who holds it.
        let mut used = key.clone();
        used.key.last_used_at = Some(chrono::DateTime::UNIX_EPOCH);
        let valid = valid.followed_by(Access::Keys(vec![used]), now);
        assert!(!has_ended(holder.clone()));
        let expired = HashedKey {
            is_expired: true,
            ..key
        };
        let over = valid.followed_by(Access::Keys(vec![expired]), now);
        let caller = over.caller(Some(secret.expose()), now);
        assert!(matches!(caller, Caller::Expired), "{caller:?}");
        assert!(has_ended(holder));
    }

    #[tokio::test(start_paused = true)]
    async fn the_use_of_a_key_is_written_once_a_minute() {
        let store = Arc::new(ReferenceStore::default());
        let service = OrderService::builder(store.clone()).build();
        let request = KeyRequest::new("key", [Scope::Read].into_iter().collect()).unwrap();
        let (_, secret) = service.create_key(request).await.unwrap();
        let cache = KeyCache::load(store).await.unwrap();
        let mut noted = Noted::new();
        let last_use = async || service.keys().await.unwrap()[0].last_used_at;
        cache.write_uses(&mut noted).await;
        assert_eq!(last_use().await, None, "nobody used it");
        assert!(authenticated(&cache, &secret).is_some());
        cache.write_uses(&mut noted).await;
        let first = last_use().await;
        assert!(first.is_some());
        assert!(authenticated(&cache, &secret).is_some());
        tokio::time::advance(WRITE_USE_EVERY - Duration::from_millis(1)).await;
        cache.write_uses(&mut noted).await;
        assert_eq!(noted.len(), 1);
        let written_at = *noted.values().next().unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        cache.write_uses(&mut noted).await;
        assert!(
            *noted.values().next().unwrap() > written_at,
            "it is written again"
        );
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
