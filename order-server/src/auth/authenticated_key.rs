//! A key that is in force.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use governor::state::InMemoryState;
use order_core::{audit::Author, keys::ApiKey};

use super::until_end::UntilEnd;

/// A key that is in force, and the rate of the requests that came with it.
#[derive(Debug)]
pub struct AuthenticatedKey {
    /// The key.
    pub key: ApiKey,
    /// Counts the requests that came with it.
    pub(crate) bucket: Arc<InMemoryState>,
    /// Who does what is done with it.
    author: Author,
    /// Ends when it is revoked, or its scopes change.
    pub(super) until_end: UntilEnd,
}

impl AuthenticatedKey {
    pub(super) fn new(key: ApiKey) -> Self {
        Self {
            author: author(&key),
            key,
            bucket: Arc::default(),
            until_end: UntilEnd::default(),
        }
    }

    pub(super) fn author(&self) -> Author {
        self.author.clone()
    }

    /// The same key with what is known of it now. Its rate goes on.
    pub(super) fn changed(&self, key: ApiKey) -> Self {
        Self {
            author: author(&key),
            key,
            bucket: Arc::clone(&self.bucket),
            until_end: UntilEnd::default(),
        }
    }
}

/// The holder of a key, by the name of the key.
fn author(key: &ApiKey) -> Author {
    Author {
        client: Some(key.name.as_str().into()),
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
