//! A key that is not revoked.

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use governor::state::InMemoryState;
use order_core::{
    audit::Author,
    keys::{ApiKey, HashedKey},
};

use super::until_end::UntilEnd;

/// A key that is not revoked, and the rate of the requests that came with it.
#[derive(Debug)]
pub struct AuthenticatedKey {
    /// The key.
    pub key: ApiKey,
    /// Its time is over.
    pub(super) is_expired: bool,
    /// It was used since that was written down.
    was_used: AtomicBool,
    /// Counts the requests that came with it.
    pub(crate) bucket: Arc<InMemoryState>,
    /// Who does what is done with it.
    author: Author,
    /// Ends when it is revoked, or its scopes change.
    pub(super) until_end: UntilEnd,
}

impl AuthenticatedKey {
    pub(super) fn new(
        HashedKey {
            key, is_expired, ..
        }: HashedKey,
    ) -> Self {
        Self {
            author: author(&key),
            key,
            is_expired,
            was_used: AtomicBool::new(false),
            bucket: Arc::default(),
            until_end: UntilEnd::default(),
        }
    }

    pub(super) fn author(&self) -> Author {
        self.author.clone()
    }

    /// The same key with what is known of it now. Its rate goes on.
    pub(super) fn changed(&self, now: &Self) -> Self {
        Self {
            author: author(&now.key),
            key: now.key.clone(),
            is_expired: now.is_expired,
            was_used: AtomicBool::new(self.was_used.load(Ordering::Relaxed)),
            bucket: Arc::clone(&self.bucket),
            until_end: UntilEnd::default(),
        }
    }

    /// True when its holder may do now what they might do before, and nothing else.
    pub(super) fn allows_the_same(&self, now: &Self) -> bool {
        self.is_expired == now.is_expired
            && self.key.scopes == now.key.scopes
            && self.key.client_id == now.key.client_id
    }

    /// Notes a use. Most find it noted, and write nothing that other threads read.
    pub(super) fn note_use(&self) {
        if !self.was_used.load(Ordering::Relaxed) {
            self.was_used.store(true, Ordering::Relaxed);
        }
    }

    /// True when it was used since this was asked last.
    pub(super) fn take_use(&self) -> bool {
        self.was_used.swap(false, Ordering::Relaxed)
    }
}

/// The holder of a key, by the name of its client.
fn author(key: &ApiKey) -> Author {
    Author {
        client: Some(key.client.as_str().into()),
        key: Some(key.id),
    }
}

impl PartialEq for AuthenticatedKey {
    fn eq(&self, other: &Self) -> bool {
        self.key.id == other.key.id
    }
}

impl Eq for AuthenticatedKey {}

impl Hash for AuthenticatedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.id.hash(state);
    }
}
