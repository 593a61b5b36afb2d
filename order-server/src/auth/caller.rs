//! The sender of a request.

use std::sync::Arc;

use order_core::{audit::Author, domain::ClientId};
use uuid::Uuid;

use super::{authenticated_key::AuthenticatedKey, until_end::UntilEnd};

/// The sender of a request, as far as its key tells.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Anybody, on a server that has no keys, until the first one is made.
    AuthDisabled(UntilEnd),
    /// A sender with a key that is in force.
    Key(Arc<AuthenticatedKey>),
    /// A sender without a key, or with one that is not in force.
    Unauthenticated,
    /// A sender with a key whose time is over.
    Expired,
    /// The keys could not be read for too long, so that no key can be checked.
    KeysUnavailable,
}

impl Caller {
    /// The client that the caller is, if it shows a key.
    pub(crate) fn client(&self) -> Option<ClientId> {
        match self {
            Self::Key(key) => Some(key.key.client_id),
            _ => None,
        }
    }

    /// The namespace of the caller's idempotency keys: different clients may choose the same ones,
    /// and a client may change its API key between two tries.
    pub(crate) fn scope(&self) -> Uuid {
        self.client().map_or(Uuid::nil(), |client| client.0)
    }

    /// Who does what this request does.
    pub(crate) fn author(&self) -> Author {
        match self {
            Self::Key(key) => key.author(),
            Self::AuthDisabled(_)
            | Self::Unauthenticated
            | Self::Expired
            | Self::KeysUnavailable => Author::default(),
        }
    }

    /// Returns when the caller may no longer do what it may do now: its key is revoked or has other
    /// scopes, or an open server has its first key.
    pub(crate) async fn ended(self) {
        match self {
            Self::Key(key) => key.until_end.ended().await,
            Self::AuthDisabled(until_end) => until_end.ended().await,
            Self::Unauthenticated | Self::Expired | Self::KeysUnavailable => {}
        }
    }
}
