//! Products by a part of their name, newest first.
//!
//! Two ways lead there, and each is slow where the other is fast. A part that many names have
//! is soon met on the walk from the newest product towards older ones; looking for one that
//! few have, that walk sees everything. The index of names finds those few at once, but in no
//! order: of a part that many have, it would give all to be sorted.
//!
//! So the walk goes a few steps. When they do not fill the page, the index is asked for all
//! there are, up to a bound; past the bound, they are so many that the walk, gone on, meets
//! them soon.

use sqlx::PgConnection;
use uuid::Uuid;

use super::PostgresStore;
use crate::{
    domain::{MAX_OFFSET_ROWS, PageRequest, ProductId},
    error::Error,
};

/// How many products are looked at before the index is asked: about as long as asking takes.
const NEAR: i64 = 5_000;
/// The longest name: a longer part is in none.
const MAX_NAME_CHARS: usize = 255;
/// How many are few enough to be sorted.
const FEW: i64 = 5_000;

/// The page of the ids of living products whose name has `part` in it.
pub(super) async fn page(
    store: &PostgresStore,
    part: &str,
    page: &PageRequest<ProductId>,
) -> Result<Vec<Uuid>, Error> {
    if part.chars().count() > MAX_NAME_CHARS {
        return Ok(Vec::new());
    }
    let near = walk(store, part, page, NEAR).await?;
    if i64::try_from(near.len()).is_ok_and(|found| found == page.limit()) {
        return Ok(near);
    }
    match few(store, part, page).await? {
        Some(ids) => Ok(ids),
        None => walk(store, part, page, i64::MAX).await,
    }
}

/// How many there are, counted up to [`MAX_OFFSET_ROWS`].
pub(super) async fn count(store: &PostgresStore, part: &str) -> Result<i64, Error> {
    if part.chars().count() > MAX_NAME_CHARS {
        return Ok(0);
    }
    let mut connection = store.connections.acquire().await?;
    let mut tx = connection.begin().await?;
    plan_for_the_index(&mut tx).await?;
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM (
             SELECT 1 FROM products
             WHERE archived_at IS NULL AND name_threes(name) @@ threes_of_part($1)
               AND strpos(lower(name), lower($1)) > 0
             LIMIT $2) counted",
    )
    .bind(part)
    .bind(i64::from(MAX_OFFSET_ROWS))
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(count)
}

/// Those among the next `steps` products.
async fn walk(
    store: &PostgresStore,
    part: &str,
    page: &PageRequest<ProductId>,
    steps: i64,
) -> Result<Vec<Uuid>, Error> {
    let (after, offset) = page.bounds();
    let ids = sqlx::query_scalar(
        "SELECT id FROM (SELECT id, name FROM products WHERE archived_at IS NULL AND id < $1
                         ORDER BY id DESC LIMIT $2) walked
         WHERE strpos(lower(name), lower($3)) > 0
         ORDER BY id DESC LIMIT $4 OFFSET $5",
    )
    .bind(after.map_or(Uuid::max(), |id| id.0))
    .bind(steps)
    .bind(part)
    .bind(page.limit())
    .bind(offset)
    .fetch_all(&mut *store.connections.acquire().await?)
    .await?;
    Ok(ids)
}

/// The page, by the index; `None` when there are more than a few products to sort.
async fn few(
    store: &PostgresStore,
    part: &str,
    page: &PageRequest<ProductId>,
) -> Result<Option<Vec<Uuid>>, Error> {
    let (after, offset) = page.bounds();
    let mut connection = store.connections.acquire().await?;
    let mut tx = connection.begin().await?;
    plan_for_the_index(&mut tx).await?;
    // Written so that the comparison of ids is no condition of the primary key, whose index
    // is not wanted here.
    let mut ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM products
         WHERE archived_at IS NULL AND name_threes(name) @@ threes_of_part($1)
           AND strpos(lower(name), lower($1)) > 0 AND (id < $2) IS NOT FALSE
         LIMIT $3",
    )
    .bind(part)
    .bind(after.map_or(Uuid::max(), |id| id.0))
    .bind(FEW + 1)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    if i64::try_from(ids.len()).is_ok_and(|found| found > FEW) {
        return Ok(None);
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    let (skipped, wanted) = (rows(offset), rows(page.limit()));
    Ok(Some(ids.into_iter().skip(skipped).take(wanted).collect()))
}

/// An index of parts can only be read as a bitmap, which sessions rule out otherwise. Other
/// plans are ruled out instead: without statistics, they look cheaper.
async fn plan_for_the_index(connection: &mut PgConnection) -> Result<(), Error> {
    sqlx::query(
        "SELECT set_config('enable_bitmapscan', 'on', true)
         UNION ALL SELECT set_config('enable_indexscan', 'off', true)",
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn rows(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
