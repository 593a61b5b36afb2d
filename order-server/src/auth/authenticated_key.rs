//! A key that is in force.

use std::hash::{Hash, Hasher};

use governor::state::InMemoryState;
use order_core::keys::ApiKey;

/// A key that is in force, and the rate of the requests that came with it.
#[derive(Debug)]
pub struct AuthenticatedKey {
    /// The key.
    pub key: ApiKey,
    /// Counts the requests that came with it.
    pub(crate) bucket: InMemoryState,
}

impl AuthenticatedKey {
    pub(super) fn new(key: ApiKey) -> Self {
        Self {
            key,
            bucket: InMemoryState::default(),
        }
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
