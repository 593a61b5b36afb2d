//! Keys of the API: who may call it, and what for.
//!
//! A key is 32 random bytes that its holder shows with every request. It is shown once, when
//! it is made; what is kept is its hash ([`KeyHash`]), a name, and what it allows
//! ([`Scopes`]). Keys are never deleted: a revoked one stays, with the time, so that it can
//! be told later who could do what, and so that revoking the last key opens nothing.

mod api_key;
mod scope;
mod secret;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use api_key::{ApiKey, HashedKey, KeyRequest};
pub use scope::{Scope, Scopes};
pub use secret::{KeyHash, Secret};

use crate::{domain::KeyId, error::Error};

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// No key was ever created: whoever asks may do everything.
    Open,
    /// The holders of these keys; nobody, when all are revoked.
    Keys(Vec<HashedKey>),
}

/// Keeps the keys of the API.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a key. One whose id is already stored is left as it is.
    async fn create_key(&self, key: &HashedKey) -> Result<(), Error>;

    /// Every key, the revoked ones included, newest first.
    async fn keys(&self) -> Result<Vec<ApiKey>, Error>;

    /// Revokes a key for good. One that is revoked already is answered as it is.
    async fn revoke_key(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error>;

    /// The keys in force. Asked every few seconds by every server.
    async fn access(&self) -> Result<Access, Error>;
}
