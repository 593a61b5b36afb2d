//! Folding the names that were written past this version.

use sqlx::types::Json;
use uuid::Uuid;

use super::{SqliteStore, hex};
use crate::{
    error::Error,
    store::{retry::with_retry, rows::folds},
};

/// How many names are folded in one transaction: nobody else writes meanwhile.
const FOLDED_NAMES: i64 = 500;

/// Folds names, in the order of their ids; how many those were.
pub(super) async fn fold_names(store: &SqliteStore) -> Result<u64, Error> {
    let (mut after, mut count) = (Uuid::nil(), 0);
    // What is not there needs no write lock.
    while has_unfolded(store).await? {
        let batch = with_retry!(_retry => fold_after(store, after))?;
        let Some(last) = batch.last().copied() else {
            break;
        };
        after = last;
        count += batch.len() as u64;
    }
    Ok(count)
}

async fn has_unfolded(store: &SqliteStore) -> Result<bool, Error> {
    let found = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM products
             WHERE archived_at IS NULL AND length(CAST(name AS BLOB)) <> length(name)
               AND name_folded_of IS NOT name)",
    )
    .fetch_one(&mut *store.readers.acquire().await?)
    .await?;
    Ok(found)
}

/// Folds the next names after `after`, and gives their ids.
async fn fold_after(store: &SqliteStore, after: Uuid) -> Result<Vec<Uuid>, Error> {
    let mut tx = store.writer.begin_in_background().await?;
    let names: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT id, name FROM products
         WHERE archived_at IS NULL AND length(CAST(name AS BLOB)) <> length(name)
           AND name_folded_of IS NOT name AND id > ?1
         ORDER BY id LIMIT ?2",
    )
    .bind(after)
    .bind(FOLDED_NAMES)
    .fetch_all(&mut *tx)
    .await?;
    let (ids, folds) = folds(names);
    let rows: Vec<(String, String)> = ids.iter().copied().map(hex).zip(folds).collect();
    sqlx::query(
        "UPDATE products SET name_folded = fold.name, name_folded_of = products.name
         FROM (SELECT unhex(value ->> 0) AS id, value ->> 1 AS name FROM json_each(?1)) AS fold
         WHERE products.id = fold.id",
    )
    .bind(Json(rows))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(ids)
}
