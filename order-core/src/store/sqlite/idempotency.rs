//! Keys of requests that were carried out.

use serde_json::json;
use sqlx::{SqliteConnection, types::Json};

use super::hex;
use crate::{
    domain::{Fingerprint, IdempotencyKey, NewOrder},
    error::Error,
    store::idempotency::{Batch, Kept, Used, UsedRow, earlier},
};

/// Those of the orders' keys that were used before.
pub(super) async fn keys_of(
    connection: &mut SqliteConnection,
    orders: &[NewOrder],
) -> Result<Vec<UsedRow>, Error> {
    let asked: Vec<_> = Batch::keys(orders)
        .map(|key| json!([hex(key.scope), key.key]))
        .collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    // CROSS JOIN keeps the order of the loops: one lookup for each key.
    let used = sqlx::query_as(
        "SELECT used.scope, used.key, used.fingerprint, used.target_id
         FROM json_each(?1) asked CROSS JOIN idempotency_keys used
           ON used.scope = unhex(asked.value ->> 0) AND used.key = asked.value ->> 1",
    )
    .bind(Json(asked))
    .fetch_all(connection)
    .await?;
    Ok(used)
}

/// Whether a request with this key was carried out before.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] when that one asked for something else.
pub(super) async fn is_replay(
    connection: &mut SqliteConnection,
    key: &IdempotencyKey,
    fingerprint: Fingerprint,
) -> Result<bool, Error> {
    let used: Option<Used> = sqlx::query_as(
        "SELECT fingerprint, target_id FROM idempotency_keys
         WHERE scope = ?1 AND key = ?2",
    )
    .bind(key.scope)
    .bind(&key.key)
    .fetch_optional(connection)
    .await?;
    Ok(earlier(used.as_ref(), fingerprint)?.is_some())
}

/// Keeps keys.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    keys: impl IntoIterator<Item = &Kept>,
) -> Result<(), Error> {
    let rows: Vec<_> = keys
        .into_iter()
        .map(|kept| {
            json!([
                hex(kept.key.scope),
                kept.key.key,
                kept.fingerprint.to_hex(),
                hex(kept.target_id),
                kept.created_at.timestamp_micros(),
            ])
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO idempotency_keys (scope, key, fingerprint, target_id, created_at)
         SELECT unhex(value ->> 0), value ->> 1, unhex(value ->> 2), unhex(value ->> 3), value ->> 4
         FROM json_each(?1)",
    )
    .bind(Json(rows))
    .execute(connection)
    .await?;
    Ok(())
}
