//! Rows of keys, for both databases.

use sqlx::FromRow;
use uuid::Uuid;

use super::rows::StoredTime;
use crate::{
    domain::KeyId,
    error::Error,
    keys::{Access, ApiKey, HashedKey, KeyHash},
};

/// The columns of [`KeyRow`].
macro_rules! key_columns {
    () => {
        "id, name, hash, scopes, created_at, revoked_at"
    };
}
pub(super) use key_columns;

/// `SELECT` of a key's columns; `$rest` begins at `WHERE` or `ORDER BY`.
macro_rules! select_key {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            $crate::store::key_rows::key_columns!(),
            " FROM api_keys ",
            $rest
        )
    };
}
pub(super) use select_key;

#[derive(FromRow)]
pub(super) struct KeyRow<T> {
    id: Uuid,
    name: String,
    hash: Vec<u8>,
    scopes: String,
    created_at: T,
    revoked_at: Option<T>,
}

impl<T: StoredTime> TryFrom<KeyRow<T>> for HashedKey {
    type Error = Error;

    fn try_from(row: KeyRow<T>) -> Result<Self, Error> {
        let hash = KeyHash::from_slice(&row.hash);
        Ok(Self {
            key: ApiKey {
                id: KeyId(row.id),
                name: row.name,
                scopes: row.scopes.parse().map_err(Error::corrupt)?,
                created_at: row.created_at.time()?,
                revoked_at: row.revoked_at.map(StoredTime::time).transpose()?,
            },
            hash: hash.ok_or_else(|| Error::corrupt("hash of a key"))?,
        })
    }
}

impl<T: StoredTime> TryFrom<KeyRow<T>> for ApiKey {
    type Error = Error;

    fn try_from(row: KeyRow<T>) -> Result<Self, Error> {
        Ok(HashedKey::try_from(row)?.key)
    }
}

/// Who may call, from the rows of the keys in force, and whether a key was ever made.
pub(super) fn access<T: StoredTime>(active: Vec<KeyRow<T>>, any: bool) -> Result<Access, Error> {
    if active.is_empty() && !any {
        return Ok(Access::Open);
    }
    let keys = active.into_iter().map(HashedKey::try_from);
    Ok(Access::Keys(keys.collect::<Result<_, _>>()?))
}
