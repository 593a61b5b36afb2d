//! Keys of the API.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    audit::record,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    retry::{reading, reading_at_once, with_retry},
    value::{StoredTime, Value},
};
use crate::{
    audit::AuditChange,
    domain::{ClientId, KeyId},
    error::Error,
    keys::{Access, ApiKey, Client, HashedKey, KeyHash, KeyStore},
};

/// The columns of [`KeyRow`], but for the last one. A key that an older program made is a client of
/// its own.
macro_rules! key_columns {
    () => {
        "id, name, hash, scopes, created_at, expires_at, last_used_at, revoked_at, \
         coalesce(client_id, id) AS client_id, \
         coalesce((SELECT clients.name FROM clients WHERE clients.id = api_keys.client_id), name) \
             AS client"
    };
}
pub(super) use key_columns;

const INSERT_CLIENT: &str = "INSERT INTO clients (id, name, created_at) VALUES ($1, $2, $3)
     ON CONFLICT (name) DO NOTHING";

const CLIENT_NAMED: &str = "SELECT id, name, created_at FROM clients WHERE name = $1";

const CLIENTS: &str = "SELECT id, name, created_at FROM clients ORDER BY id DESC";

const INSERT_KEY: &str =
    "INSERT INTO api_keys (id, name, hash, scopes, created_at, client_id, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING";

const KEYS: &str = concat!(
    "SELECT ",
    key_columns!(),
    ", false AS is_expired FROM api_keys ORDER BY id DESC"
);

const KEY: &str = concat!(
    "SELECT ",
    key_columns!(),
    ", false AS is_expired FROM api_keys WHERE id = $1"
);

const HAS_KEYS: &str = "SELECT EXISTS (SELECT 1 FROM api_keys)";

const REVOKE_KEY: &str = concat!(
    "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING ",
    key_columns!(),
    ", false AS is_expired"
);

/// The time within which one use of a key is written.
const USE_EVERY: Duration = Duration::from_secs(60);

#[async_trait]
impl<B: SqlBackend> KeyStore for B {
    async fn create_client(&self, client: &Client) -> Result<Client, Error> {
        with_retry(self, |_| create_client(self, client)).await
    }

    async fn clients(&self) -> Result<Vec<Client>, Error> {
        reading(self, || clients(self)).await
    }

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

    async fn note_use(&self, ids: &[KeyId]) -> Result<(), Error> {
        let ids = Value::Ids(ids.iter().map(|id| id.0).collect());
        let values = [ids, Value::Ago(USE_EVERY), Value::Now];
        let noted = self.execute_single(Priority::Background, B::SQL.keys.note_use, &values);
        noted.await.map(drop)
    }
}

/// Made again, it meets its own name, and has happened once.
async fn create_client<B: SqlBackend>(backend: &B, client: &Client) -> Result<Client, Error> {
    let values = [
        Value::Id(client.id.0),
        Value::text(&client.name),
        Value::Time(client.created_at),
    ];
    let mut tx = backend.begin(Priority::Request, None).await?;
    let inserted = tx.execute(INSERT_CLIENT, &values).await?;
    let named: ClientRow = tx
        .fetch_one(CLIENT_NAMED, &[Value::text(&client.name)])
        .await?;
    if inserted == 0 {
        tx.confirm().await?;
    } else {
        tx.commit().await?;
    }
    Ok(named.into())
}

async fn clients<B: SqlBackend>(backend: &B) -> Result<Vec<Client>, Error> {
    let rows: Vec<ClientRow> = backend.read().await?.fetch_all(CLIENTS, &[]).await?;
    Ok(rows.into_iter().map(Client::from).collect())
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
        Value::Id(hashed.key.client_id.0),
        Value::MaybeTime(hashed.key.expires_at),
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
    let mut connection = backend.read_apart().await?;
    let active: Vec<KeyRow> = connection
        .fetch_all(B::SQL.keys.active, &[Value::Now])
        .await?;
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
struct ClientRow {
    id: Uuid,
    name: String,
    created_at: StoredTime,
}

impl From<ClientRow> for Client {
    fn from(row: ClientRow) -> Self {
        Self {
            id: ClientId(row.id),
            name: row.name,
            created_at: row.created_at.0,
        }
    }
}

#[derive(FromRow)]
struct KeyRow {
    id: Uuid,
    name: String,
    hash: Vec<u8>,
    scopes: String,
    created_at: StoredTime,
    expires_at: Option<StoredTime>,
    last_used_at: Option<StoredTime>,
    revoked_at: Option<StoredTime>,
    client_id: Uuid,
    client: String,
    is_expired: bool,
}

impl TryFrom<KeyRow> for HashedKey {
    type Error = Error;

    fn try_from(row: KeyRow) -> Result<Self, Error> {
        let hash = KeyHash::from_slice(&row.hash);
        Ok(Self {
            key: ApiKey {
                id: KeyId(row.id),
                name: row.name,
                client_id: ClientId(row.client_id),
                client: row.client,
                scopes: row.scopes.parse().map_err(Error::corrupt)?,
                created_at: row.created_at.0,
                expires_at: row.expires_at.map(|at| at.0),
                last_used_at: row.last_used_at.map(|at| at.0),
                revoked_at: row.revoked_at.map(|at| at.0),
            },
            is_expired: row.is_expired,
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
