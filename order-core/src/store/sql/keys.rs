//! Keys of the API.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    retry::{reading, reading_at_once, with_retry},
    value::{StoredTime, Value},
};
use crate::{
    domain::KeyId,
    error::Error,
    keys::{Access, ApiKey, HashedKey, KeyHash, KeyStore},
};

const INSERT_KEY: &str = "INSERT INTO api_keys (id, name, hash, scopes, created_at)
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";

const KEYS: &str = "SELECT id, name, hash, scopes, created_at, revoked_at FROM api_keys
     ORDER BY id DESC";

const ACTIVE_KEYS: &str = "SELECT id, name, hash, scopes, created_at, revoked_at FROM api_keys
     WHERE revoked_at IS NULL ORDER BY id";

const HAS_KEYS: &str = "SELECT EXISTS (SELECT 1 FROM api_keys)";

const REVOKE_KEY: &str = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1
     RETURNING id, name, hash, scopes, created_at, revoked_at";

#[async_trait]
impl<B: SqlBackend> KeyStore for B {
    async fn create_key(&self, key: &HashedKey) -> Result<(), Error> {
        with_retry(self, |_| create_key(self, key)).await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        reading(self, || keys(self)).await
    }

    async fn revoke_key(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error> {
        with_retry(self, |_| revoke_key(self, id, at)).await
    }

    async fn access(&self) -> Result<Access, Error> {
        reading_at_once(self, || access(self)).await
    }
}

/// Made again, it meets its own id, and has happened once.
async fn create_key<B: SqlBackend>(backend: &B, hashed: &HashedKey) -> Result<(), Error> {
    let scopes = hashed.key.scopes.to_string();
    let values = [
        Value::Id(hashed.key.id.0),
        Value::text(&hashed.key.name),
        Value::Bytes(hashed.hash.as_slice()),
        Value::text(&scopes),
        Value::Time(hashed.key.created_at),
    ];
    let inserted = backend.execute_single(Priority::Request, INSERT_KEY, &values);
    if inserted.await? == 0 {
        let tx = backend.begin_single(Priority::Request).await?;
        tx.confirm().await?;
    }
    Ok(())
}

async fn keys<B: SqlBackend>(backend: &B) -> Result<Vec<ApiKey>, Error> {
    let rows: Vec<KeyRow> = backend.read().await?.fetch_all(KEYS, &[]).await?;
    rows.into_iter().map(ApiKey::try_from).collect()
}

async fn revoke_key<B: SqlBackend>(
    backend: &B,
    id: KeyId,
    at: DateTime<Utc>,
) -> Result<Option<ApiKey>, Error> {
    let values = [Value::Id(id.0), Value::Time(at)];
    let revoked = backend.fetch_single(Priority::Request, REVOKE_KEY, &values);
    let mut rows: Vec<KeyRow> = revoked.await?;
    rows.pop().map(ApiKey::try_from).transpose()
}

async fn access<B: SqlBackend>(backend: &B) -> Result<Access, Error> {
    let mut connection = backend.read_apart().await?;
    let active: Vec<KeyRow> = connection.fetch_all(ACTIVE_KEYS, &[]).await?;
    if active.is_empty() {
        // Asked after: a key that is made in between closes, and is in force the next time.
        let (has_keys,): (bool,) = connection.fetch_one(HAS_KEYS, &[]).await?;
        if !has_keys {
            return Ok(Access::Open);
        }
    }
    let keys = active.into_iter().map(HashedKey::try_from);
    Ok(Access::Keys(keys.collect::<Result<_, _>>()?))
}

#[derive(FromRow)]
struct KeyRow {
    id: Uuid,
    name: String,
    hash: Vec<u8>,
    scopes: String,
    created_at: StoredTime,
    revoked_at: Option<StoredTime>,
}

impl TryFrom<KeyRow> for HashedKey {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self, Error> {
        let hash = KeyHash::from_slice(&row.hash);
        Ok(Self {
            key: ApiKey {
                id: KeyId(row.id),
                name: row.name,
                scopes: row.scopes.parse().map_err(Error::corrupt)?,
                created_at: row.created_at.0,
                revoked_at: row.revoked_at.map(|at| at.0),
            },
            hash: hash.ok_or_else(|| Error::corrupt("hash of a key"))?,
        })
    }
}

impl TryFrom<KeyRow> for ApiKey {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self, Error> {
        Ok(HashedKey::try_from(row)?.key)
    }
}
