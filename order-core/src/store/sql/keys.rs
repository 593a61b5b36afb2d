//! Keys of the API.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    audit::record,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    retry::{reading, with_retry},
    value::{StoredTime, Value},
};
use crate::{
    audit::AuditChange,
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

const REVOKE_KEY: &str = "UPDATE api_keys SET revoked_at = $2
     WHERE id = $1 AND revoked_at IS NULL
     RETURNING id, name, hash, scopes, created_at, revoked_at";

const KEY: &str = "SELECT id, name, hash, scopes, created_at, revoked_at FROM api_keys
     WHERE id = $1";

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
        reading(self, || access(self)).await
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
    let mut tx = backend.begin(Priority::Request, None).await?;
    if tx.execute(INSERT_KEY, &values).await? == 0 {
        return tx.confirm().await;
    }
    record(&mut *tx, &AuditChange::key_created(&hashed.key)).await?;
    tx.commit().await
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
    let mut tx = backend.begin(Priority::Request, None).await?;
    let revoked: Option<KeyRow> = tx.fetch_optional(REVOKE_KEY, &values).await?;
    let Some(revoked) = revoked else {
        let key: Option<KeyRow> = tx.fetch_optional(KEY, &values[..1]).await?;
        tx.confirm().await?;
        return key.map(ApiKey::try_from).transpose();
    };
    let key = ApiKey::try_from(revoked)?;
    record(&mut *tx, &AuditChange::key_revoked(&key)).await?;
    tx.commit().await?;
    Ok(Some(key))
}

async fn access<B: SqlBackend>(backend: &B) -> Result<Access, Error> {
    let mut connection = backend.read().await?;
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
