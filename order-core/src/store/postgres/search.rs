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
//!
//! What is compared are folds (see [`folded`](crate::domain::folded)), which this program makes:
//! the part comes folded, and the fold of a name lies beside it.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::PostgresStore;
use crate::{
    domain::{MAX_FOLDED_CHARS, MAX_OFFSET_ROWS, PageRequest, ProductId},
    error::Error,
    store::{error::on_commit, retry::with_retry, rows::folds},
};

/// How many products are looked at before the index is asked: about as long as asking takes.
const NEAR: i64 = 5_000;
/// The longest fold of a name: a longer part is in none.
const MAX_CHARS: usize = 255 * MAX_FOLDED_CHARS;
/// How many are few enough to be sorted.
const FEW: i64 = 5_000;
/// How many names are folded in one transaction: their products are locked meanwhile.
const FOLDED_NAMES: i64 = 500;
/// How long a look at all names may take: about as long as a statement may.
const FOLD_LIMIT: Duration = Duration::from_secs(29);
/// How often a process that starts looks whether all names are folded, and how long it waits
/// before the next look: others may be about it.
const FOLDING_LOOKS: u32 = 20;
const FOLDING_PAUSE: Duration = Duration::from_millis(50);

/// The fold of a row's name. Of a name that is not folded yet, only the letters of ASCII are
/// folded; one of ASCII alone has no other fold.
macro_rules! fold {
    () => {
        "CASE WHEN name_folded_of = name THEN name_folded ELSE lower(name COLLATE \"C\") END"
    };
}

/// Whether that has `$part` in it, by the index.
macro_rules! has_part {
    ($part:literal) => {
        concat!(
            "name_trigrams(",
            fold!(),
            ") @@ trigrams_of_part(",
            $part,
            ") AND strpos(",
            fold!(),
            ", ",
            $part,
            ") > 0"
        )
    };
}

/// The page of the ids of living products whose name has `part` in it.
pub(super) async fn page(
    store: &PostgresStore,
    part: &str,
    page: &PageRequest<ProductId>,
) -> Result<Vec<Uuid>, Error> {
    if part.chars().count() > MAX_CHARS {
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
    if part.chars().count() > MAX_CHARS {
        return Ok(0);
    }
    let mut connection = store.connections.acquire().await?;
    let mut tx = connection.begin().await?;
    plan_for_the_index(&mut tx).await?;
    let count = sqlx::query_scalar(concat!(
        "SELECT count(*) FROM (
                 SELECT 1 FROM products
                 WHERE archived_at IS NULL AND ",
        has_part!("$1"),
        " LIMIT $2) counted"
    ))
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
    let ids = sqlx::query_scalar(concat!(
        "SELECT id FROM (SELECT id, name, name_folded, name_folded_of FROM products
                         WHERE archived_at IS NULL AND id < $1 ORDER BY id DESC LIMIT $2) walked
         WHERE strpos(",
        fold!(),
        ", $3) > 0 ORDER BY id DESC LIMIT $4 OFFSET $5"
    ))
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
    let mut ids: Vec<Uuid> = sqlx::query_scalar(concat!(
        "SELECT id FROM products WHERE archived_at IS NULL AND ",
        has_part!("$1"),
        " AND (id < $2) IS NOT FALSE LIMIT $3"
    ))
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

/// Folds all names that somebody wrote past this version, with those who do so at the same time.
/// Gives up on products that stay locked: they are folded later.
pub(super) async fn fold_all_names(store: &PostgresStore) -> Result<(), Error> {
    for _ in 0..FOLDING_LOOKS {
        fold_names(store).await?;
        let is_left = is_left_to_fold(store);
        if !store.connections.within(FOLD_LIMIT, is_left).await? {
            return Ok(());
        }
        tokio::time::sleep(FOLDING_PAUSE).await;
    }
    tracing::warn!("the names of products that are locked are not folded yet");
    Ok(())
}

async fn is_left_to_fold(store: &PostgresStore) -> Result<bool, Error> {
    let is_left = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM products
             WHERE archived_at IS NULL AND octet_length(name) <> char_length(name)
               AND name_folded_of IS DISTINCT FROM name)",
    )
    .fetch_one(&mut *store.connections.acquire().await?)
    .await?;
    Ok(is_left)
}

/// Folds the names that were written past this version, in the order of their ids.
pub(super) async fn fold_names(store: &PostgresStore) -> Result<u64, Error> {
    let (mut after, mut count) = (Uuid::nil(), 0);
    loop {
        let batch =
            with_retry!(_retry => store.connections.within(FOLD_LIMIT, fold_after(store, after)))?;
        let Some(last) = batch.last().copied() else {
            return Ok(count);
        };
        after = last;
        count += batch.len() as u64;
    }
}

/// Folds the next names after `after`, and gives their ids. Whoever sells holds up nothing here,
/// and others that fold do neither: what is locked is skipped.
async fn fold_after(store: &PostgresStore, after: Uuid) -> Result<Vec<Uuid>, Error> {
    let mut connection = store.connections.acquire().await?;
    let mut tx = connection.begin().await?;
    let names: Vec<(Uuid, String)> = sqlx::query_as(
        "SELECT id, name FROM products
         WHERE archived_at IS NULL AND octet_length(name) <> char_length(name)
           AND name_folded_of IS DISTINCT FROM name AND id > $1
         ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
    )
    .bind(after)
    .bind(FOLDED_NAMES)
    .fetch_all(&mut *tx)
    .await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, folds) = folds(names);
    sqlx::query(
        "UPDATE products SET name_folded = fold.name, name_folded_of = products.name
         FROM unnest($1::uuid[], $2::text[]) AS fold (id, name) WHERE products.id = fold.id",
    )
    .bind(&ids)
    .bind(folds)
    .execute(&mut *tx)
    .await?;
    tx.commit().await.map_err(on_commit)?;
    Ok(ids)
}
