//! Keys of the API.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SqliteStore;
use crate::{
    domain::KeyId,
    error::Error,
    keys::{Access, ApiKey, HashedKey, KeyStore},
    store::{
        key_rows::{self, key_columns, select_key},
        retry::with_retry,
        rows::Micros,
    },
};

type KeyRow = key_rows::KeyRow<Micros>;

#[async_trait]
impl KeyStore for SqliteStore {
    async fn create_key(&self, key: &HashedKey) -> Result<(), Error> {
        with_retry!(_retry => self.create_key_once(key))
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        let rows: Vec<KeyRow> = sqlx::query_as(select_key!("ORDER BY id DESC"))
            .fetch_all(&mut *self.readers.acquire().await?)
            .await?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    async fn revoke_key(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error> {
        with_retry!(_retry => self.revoke_key_once(id, at))
    }

    async fn access(&self) -> Result<Access, Error> {
        let active: Vec<KeyRow> =
            sqlx::query_as(select_key!("WHERE revoked_at IS NULL ORDER BY id"))
                .fetch_all(&mut *self.readers.acquire().await?)
                .await?;
        // Asked after: a key that is made in between closes, and is in force the next time.
        let any = !active.is_empty()
            || sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM api_keys)")
                .fetch_one(&mut *self.readers.acquire().await?)
                .await?;
        key_rows::access(active, any)
    }
}

impl SqliteStore {
    /// Made again, it meets its own id, and has happened once.
    async fn create_key_once(&self, hashed: &HashedKey) -> Result<(), Error> {
        let mut tx = self.writer.begin().await?;
        sqlx::query(
            "INSERT INTO api_keys (id, name, hash, scopes, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO NOTHING",
        )
        .bind(hashed.key.id.0)
        .bind(&hashed.key.name)
        .bind(hashed.hash.as_slice())
        .bind(hashed.key.scopes.to_string())
        .bind(Micros::from(hashed.key.created_at))
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    async fn revoke_key_once(&self, id: KeyId, at: DateTime<Utc>) -> Result<Option<ApiKey>, Error> {
        let mut tx = self.writer.begin().await?;
        let row: Option<KeyRow> = sqlx::query_as(concat!(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1 RETURNING ",
            key_columns!()
        ))
        .bind(id.0)
        .bind(Micros::from(at))
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        row.map(ApiKey::try_from).transpose()
    }
}
