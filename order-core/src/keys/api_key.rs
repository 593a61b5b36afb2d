//! The record of a key, without its secret.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{KeyHash, Scopes, Secret};
use crate::{
    domain::{KeyId, bounded},
    error::Error,
};

const MAX_NAME_LENGTH: usize = 255;

/// A key, without the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    /// Its id, which is no secret.
    pub id: KeyId,
    /// A name for its holder or its purpose.
    pub name: String,
    /// The scopes that it allows.
    pub scopes: Scopes,
    /// The time at which it was made.
    pub created_at: DateTime<Utc>,
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
}

/// A key to make.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    name: String,
    scopes: Scopes,
}

impl KeyRequest {
    /// A key with a name of 1 to 255 characters that allows something.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names `name` or `scope`.
    pub fn new(name: impl Into<String>, scopes: Scopes) -> Result<Self, Error> {
        if scopes.is_empty() {
            return Err(Error::invalid("scope", "is missing"));
        }
        let name = bounded("name", name.into(), 1, MAX_NAME_LENGTH)?;
        Ok(Self { name, scopes })
    }

    /// The key to store, for the holder of `secret`.
    #[must_use]
    pub fn into_hashed_key(self, id: KeyId, secret: &Secret, at: DateTime<Utc>) -> HashedKey {
        HashedKey {
            key: ApiKey {
                id,
                name: self.name,
                scopes: self.scopes,
                created_at: at,
                revoked_at: None,
            },
            hash: secret.hash(),
        }
    }
}
