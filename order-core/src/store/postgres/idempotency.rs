//! Keys of requests that were carried out.

use sqlx::PgConnection;

use crate::{
    domain::{Fingerprint, IdempotencyKey, NewOrder},
    error::Error,
    store::idempotency::{Batch, Kept, Used, UsedRow, earlier},
};

/// Those of the orders' keys that were used before.
pub(super) async fn keys_of(
    connection: &mut PgConnection,
    orders: &[NewOrder],
) -> Result<Vec<UsedRow>, Error> {
    let (scopes, keys): (Vec<_>, Vec<_>) = Batch::keys(orders)
        .map(|key| (key.scope, key.key.as_str()))
        .unzip();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    // `OFFSET 0` keeps it one lookup for each key, whatever the statistics say.
    let used = sqlx::query_as(
        "SELECT asked.scope, asked.key, used.fingerprint, used.target_id
         FROM unnest($1::uuid[], $2::text[]) AS asked (scope, key),
              LATERAL (SELECT fingerprint, target_id FROM idempotency_keys
                       WHERE scope = asked.scope AND key = asked.key OFFSET 0) used",
    )
    .bind(scopes)
    .bind(keys)
    .fetch_all(connection)
    .await?;
    Ok(used)
}

/// Whether a request with this key was carried out before.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] when that one asked for something else.
pub(super) async fn is_replay(
    connection: &mut PgConnection,
    key: &IdempotencyKey,
    fingerprint: Fingerprint,
) -> Result<bool, Error> {
    let used: Option<Used> = sqlx::query_as(
        "SELECT fingerprint, target_id FROM idempotency_keys
         WHERE scope = $1 AND key = $2",
    )
    .bind(key.scope)
    .bind(&key.key)
    .fetch_optional(connection)
    .await?;
    Ok(earlier(used.as_ref(), fingerprint)?.is_some())
}

/// Keeps a key.
pub(super) async fn keep(connection: &mut PgConnection, kept: Kept) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO idempotency_keys (scope, key, fingerprint, target_id, created_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(kept.key.scope)
    .bind(kept.key.key)
    .bind(kept.fingerprint.as_bytes())
    .bind(kept.target_id)
    .bind(kept.created_at)
    .execute(connection)
    .await?;
    Ok(())
}
