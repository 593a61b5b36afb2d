//! Keys of the API.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, session};
use crate::{
    domain::KeyId,
    error::Error,
    keys::{Access, ApiKey, HashedKey, KeyStore},
    store::{
        error::on_commit,
        key_rows::{self, key_columns, select_key},
        retry::with_retry,
    },
};

type KeyRow = key_rows::KeyRow<DateTime<Utc>>;

#[async_trait]
impl KeyStore for PostgresStore {
    async fn create_key(&self, key: &HashedKey) -> Result<(), Error> {
        with_retry!(_retry => self.connections.attempt(self.create_key_once(key)))
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        with_retry!(_retry => self.connections.attempt(self.keys_once()))
    }

    async fn revoke_key(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error> {
        with_retry!(_retry => self.connections.attempt(self.revoke_key_once(id, at)))
    }

    async fn access(&self) -> Result<Access, Error> {
        with_retry!(_retry => self.connections.attempt(self.access_once()))
    }
}

impl PostgresStore {
    /// Made again, it meets its own id, and has happened once.
    async fn create_key_once(&self, hashed: &HashedKey) -> Result<(), Error> {
        let mut connection = self.connections.acquire().await?;
        let made = sqlx::query(
            "INSERT INTO api_keys (id, name, hash, scopes, created_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
        )
        .bind(hashed.key.id.0)
        .bind(&hashed.key.name)
        .bind(hashed.hash.as_slice())
        .bind(hashed.key.scopes.to_string())
        .bind(hashed.key.created_at)
        .execute(&mut *connection)
        .await
        .map_err(on_commit)?;
        if made.rows_affected() == 0 {
            session::assure(&mut connection).await?;
        }
        Ok(())
    }

    async fn keys_once(&self) -> Result<Vec<ApiKey>, Error> {
        let rows: Vec<KeyRow> = sqlx::query_as(select_key!("ORDER BY id DESC"))
            .fetch_all(&mut *self.connections.acquire().await?)
            .await?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    async fn revoke_key_once(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error> {
        let row: Option<KeyRow> = sqlx::query_as(concat!(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING ",
            key_columns!()
        ))
        .bind(id.0)
        .bind(at)
        .fetch_optional(&mut *self.connections.acquire().await?)
        .await
        .map_err(on_commit)?;
        row.map(ApiKey::try_from).transpose()
    }

    async fn access_once(&self) -> Result<Access, Error> {
        let active: Vec<KeyRow> =
            sqlx::query_as(select_key!("WHERE revoked_at IS NULL ORDER BY id"))
                .fetch_all(&mut *self.connections.acquire().await?)
                .await?;
        // Asked after: a key that is made in between closes, and is in force the next time.
        let any = !active.is_empty()
            || sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM api_keys)")
                .fetch_one(&mut *self.connections.acquire().await?)
                .await?;
        key_rows::access(active, any)
    }
}
