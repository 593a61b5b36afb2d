//! The record of a key, without its secret.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Client, KeyHash, Scopes, Secret, client::MAX_NAME_LENGTH};
use crate::{
    domain::{ClientId, KeyId, bounded},
    error::Error,
};

/// A key, without the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Its id, which is no secret.
    pub id: KeyId,
    /// A name for its holder or its purpose.
    pub name: String,
    /// The client that it belongs to.
    pub client_id: ClientId,
    /// The name of that client.
    pub client: String,
    /// The scopes that it allows.
    pub scopes: Scopes,
    /// The time at which it was made.
    pub created_at: DateTime<Utc>,
    /// The time from which on it is no longer valid by itself, if it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// The time of a use, by the clock of the store: a later one is at most some minutes younger.
    pub last_used_at: Option<DateTime<Utc>>,
    /// The time from which on it is no longer valid.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key with the hash that it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedKey {
    /// The key.
    pub key: ApiKey,
    /// The hash of the secret that its holder has.
    pub hash: KeyHash,
    /// Its time was over when it was read, by the clock of the store.
    pub is_expired: bool,
}

/// A key to make.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    pub(crate) client: Option<String>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

impl KeyRequest {
    /// A key with a name of 1 to 255 characters that allows something, for the client of that name,
    /// who is made if need be.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `name` or `scope`.
    pub fn new(name: impl Into<String>, scopes: Scopes) -> Result<Self, Error> {
        if scopes.is_empty() {
            return Err(Error::invalid("scope", "is missing"));
        }
        Ok(Self {
            name: bounded("name", name.into(), 1, MAX_NAME_LENGTH)?,
            scopes,
            client: None,
            expires_at: None,
        })
    }

    /// The same key, for the client with this name, who has to be there.
    #[must_use]
    pub fn for_client(mut self, name: Option<String>) -> Self {
        self.client = name;
        self
    }

    /// The same key, valid until then.
    #[must_use]
    pub fn until(mut self, expires_at: Option<DateTime<Utc>>) -> Self {
        self.expires_at = expires_at;
        self
    }

    /// The key to store, for the holder of `secret`.
    #[must_use]
    pub fn into_hashed_key(
        self,
        id: KeyId,
        client: &Client,
        secret: &Secret,
        at: DateTime<Utc>,
    ) -> HashedKey {
        HashedKey {
            key: ApiKey {
                id,
                name: self.name,
                client_id: client.id,
                client: client.name.clone(),
                scopes: self.scopes,
                created_at: at,
                expires_at: self.expires_at,
                last_used_at: None,
                revoked_at: None,
            },
            hash: secret.hash(),
            is_expired: false,
        }
    }
}
