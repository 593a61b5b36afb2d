//! The holder of a key.

use std::hash::{Hash, Hasher};

use governor::state::InMemoryState;
use order_core::keys::ApiKey;

/// The holder of a key, and how fast its requests came.
#[derive(Debug)]
pub struct Holder {
    /// The key.
    pub key: ApiKey,
    /// Counts its requests, as long as the key is in force.
    pub(crate) bucket: InMemoryState,
}

impl Holder {
    pub(super) fn new(key: ApiKey) -> Self {
        Self {
            key,
            bucket: InMemoryState::default(),
        }
    }
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.key.id == other.key.id
    }
}

impl Eq for Holder {}

impl Hash for Holder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.id.hash(state);
    }
}
