//! The store of clients and their API keys.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{ApiKey, Client, HashedKey};
use crate::{domain::KeyId, error::Error};

/// The callers that a server lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, for everything: no key was ever created.
    Open,
    /// The holders of these keys, but for those that are expired; nobody, when all are revoked.
    Keys(Vec<HashedKey>),
}

/// A store that keeps the keys of an API, and whose they are.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Stores a client, unless there is one with its name; gives the one that has the name.
    async fn create_client(&self, client: &Client) -> Result<Client, Error>;

    /// Every client, newest first.
    async fn clients(&self) -> Result<Vec<Client>, Error>;

    /// Stores a key, whose client is there. One whose id is already stored is left as it is.
    async fn create_key(&self, key: &HashedKey) -> Result<(), Error>;

    /// Every key, the revoked ones included, newest first.
    async fn keys(&self) -> Result<Vec<ApiKey>, Error>;

    /// Revokes a key for good. One that is revoked already is answered as it is.
    async fn revoke_key(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error>;

    /// The keys that are not revoked. Asked every few seconds by every server.
    async fn access(&self) -> Result<Access, Error>;

    /// Notes that keys were used, at the time of the store. A use within a minute of the one that
    /// was noted last is not written.
    async fn note_use(&self, ids: &[KeyId]) -> Result<(), Error>;
}
