//! The store of API keys.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{ApiKey, HashedKey};
use crate::{domain::KeyId, error::Error};

/// The callers that a server lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, for everything: no key was ever created.
    Open,
    /// The holders of these keys; nobody, when all are revoked.
    Keys(Vec<HashedKey>),
}

/// A store that keeps the keys of an API.
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
