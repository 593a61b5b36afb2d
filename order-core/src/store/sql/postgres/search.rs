//! Products by a part of their name, in the order of their ids.
//!
//! Two ways lead there, and each is slow where the other is fast. A part that many names have
//! is soon met on the way from one product to the next; looking for one that few have, that
//! scan reads everything. The index of names finds those few at once, but in no
//! order: of a part that many have, it would give all to be sorted.
//!
//! So the scan goes a few steps. When they do not fill the page, the index is asked for all
//! there are, up to a bound; past the bound, they are so many that the scan, gone on, meets
//! them soon.
//!
//! Names are compared by their folds (see [`folded`](crate::domain::folded)), which this program makes:
//! the part comes folded, and the fold of a name lies beside it.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    products::{COUNT, NAMED, PAGE},
    store::PostgresStore,
};
use crate::{
    domain::{MAX_FOLDED_CHARS, MAX_OFFSET_ROWS},
    error::Error,
    store::products::ProductQuery,
    store::sql::{
        backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
        names,
        products::ProductSteps,
        rows::{Count, ProductRow},
        sorted::{Sorted, beginning, sorted},
        value::Value,
    },
};

/// The number of products that are scanned before the index is asked: about as long as asking takes.
const SCAN_LIMIT: i64 = 5_000;
/// The longest fold of a name: a longer part is in none.
const MAX_CHARS: usize = 255 * MAX_FOLDED_CHARS;
/// The most products that are sorted.
const SORT_LIMIT: i64 = 5_000;
/// The number of times that a process that starts checks whether all names are folded, and the
/// pause between two checks: others may be folding them.
const FOLDING_LOOKS: u32 = 20;
const FOLDING_PAUSE: Duration = Duration::from_millis(50);

/// The fold of a row's name. Of a name that is not folded yet, only the letters of ASCII are
/// folded; one of ASCII alone has no other fold.
macro_rules! fold {
    () => {
        "CASE WHEN name_folded_of = name THEN name_folded ELSE lower(name COLLATE \"C\") END"
    };
}

/// The condition that the fold has `$part` in it, by the index.
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

#[async_trait]
impl ProductSteps for PostgresStore {
    async fn find_products(&self, query: &ProductQuery) -> Result<Vec<ProductRow>, Error> {
        if let Some(part) = query.folded_part() {
            let ids = Value::Ids(named(self, &part, query).await?);
            let named = NAMED.by(query.sort);
            return self.read().await?.fetch_all(named, &[ids]).await;
        }
        let (after, offset) = bounds(query);
        let values = [after, Value::Int(query.page.limit()), offset];
        let page = PAGE.by(query.sort);
        self.read().await?.fetch_all(page, &values).await
    }

    async fn count_products(&self, query: &ProductQuery) -> Result<i64, Error> {
        let limit = Value::Int(i64::from(MAX_OFFSET_ROWS));
        let Some(part) = query.folded_part() else {
            let (count,): Count = self.read().await?.fetch_one(COUNT, &[limit]).await?;
            return Ok(count);
        };
        if part.chars().count() > MAX_CHARS {
            return Ok(0);
        }
        let mut tx = self.begin(Priority::Request, None).await?;
        tx.execute(PLAN_FOR_THE_INDEX, &[]).await?;
        let values = [Value::text(&part), limit];
        let (count,): Count = tx.fetch_one(COUNT_NAMED, &values).await?;
        tx.commit().await?;
        Ok(count)
    }
}

const COUNT_NAMED: &str = concat!(
    "SELECT count(*) FROM (
         SELECT 1 FROM products WHERE archived_at IS NULL AND ",
    has_part!("$1"),
    " LIMIT $2) counted"
);

macro_rules! scan {
    ($after:literal, $direction:literal) => {
        concat!(
            "SELECT id FROM (SELECT id, name, name_folded, name_folded_of FROM products
                     WHERE archived_at IS NULL AND id ",
            $after,
            " $1 ORDER BY id ",
            $direction,
            " LIMIT $2) scanned
     WHERE strpos(",
            fold!(),
            ", $3) > 0 ORDER BY id ",
            $direction,
            " LIMIT $4 OFFSET $5"
        )
    };
}
const SCAN: Sorted = sorted!(scan);

/// Written so that the comparison of ids is no condition of the primary key, whose index is not
/// wanted here.
macro_rules! by_index {
    ($after:literal, $direction:literal) => {
        concat!(
            "SELECT id FROM products WHERE archived_at IS NULL AND ",
            has_part!("$1"),
            " AND (id ",
            $after,
            " $2) IS NOT FALSE LIMIT $3"
        )
    };
}
const BY_INDEX: Sorted = sorted!(by_index);

/// An index of parts can only be read as a bitmap, which sessions rule out otherwise. Other
/// plans are ruled out instead: without statistics, they look cheaper.
const PLAN_FOR_THE_INDEX: &str = "SELECT set_config('enable_bitmapscan', 'on', true)
     UNION ALL SELECT set_config('enable_indexscan', 'off', true)";

const IS_LEFT_TO_FOLD: &str = "SELECT EXISTS (SELECT FROM products
         WHERE archived_at IS NULL AND octet_length(name) <> char_length(name)
           AND name_folded_of IS DISTINCT FROM name)";

/// The page of the ids of living products whose name has `part` in it.
async fn named(
    store: &PostgresStore,
    part: &str,
    query: &ProductQuery,
) -> Result<Vec<Uuid>, Error> {
    if part.chars().count() > MAX_CHARS {
        return Ok(Vec::new());
    }
    let scanned = scan(store, part, query, SCAN_LIMIT).await?;
    if i64::try_from(scanned.len()).is_ok_and(|found| found == query.page.limit()) {
        return Ok(scanned);
    }
    match sort(store, part, query).await? {
        Some(ids) => Ok(ids),
        None => scan(store, part, query, i64::MAX).await,
    }
}

/// Those among the next `steps` products.
async fn scan(
    store: &PostgresStore,
    part: &str,
    query: &ProductQuery,
    steps: i64,
) -> Result<Vec<Uuid>, Error> {
    let (after, offset) = bounds(query);
    let values = [
        after,
        Value::Int(steps),
        Value::text(part),
        Value::Int(query.page.limit()),
        offset,
    ];
    let scan = SCAN.by(query.sort);
    store.read().await?.fetch_ids(scan, &values).await
}

/// The page, by the index; `None` when there are more than a few products to sort.
async fn sort(
    store: &PostgresStore,
    part: &str,
    query: &ProductQuery,
) -> Result<Option<Vec<Uuid>>, Error> {
    let (after, _) = bounds(query);
    let (_, offset) = query.page.bounds();
    let mut tx = store.begin(Priority::Request, None).await?;
    tx.execute(PLAN_FOR_THE_INDEX, &[]).await?;
    let values = [Value::text(part), after, Value::Int(SORT_LIMIT + 1)];
    let mut ids = tx.fetch_ids(BY_INDEX.by(query.sort), &values).await?;
    tx.commit().await?;
    if i64::try_from(ids.len()).is_ok_and(|found| found > SORT_LIMIT) {
        return Ok(None);
    }
    query.sort.arrange(&mut ids, |id| *id);
    let (skipped, wanted) = (rows(offset), rows(query.page.limit()));
    Ok(Some(ids.into_iter().skip(skipped).take(wanted).collect()))
}

/// The place after which a page starts, and the rows to skip.
fn bounds(query: &ProductQuery) -> (Value<'static>, Value<'static>) {
    let (after, offset) = query.page.bounds();
    let after = after.map_or_else(|| beginning(query.sort), |id| id.0);
    (Value::Id(after), Value::Int(offset))
}

fn rows(count: i64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Folds all names that somebody wrote past this version, with those who do so at the same time.
/// Gives up on products that stay locked: they are folded later.
pub(super) async fn fold_all_names(store: &PostgresStore) -> Result<(), Error> {
    for _ in 0..FOLDING_LOOKS {
        names::fold_names(store).await?;
        let is_left = async { store.read().await?.fetch_one(IS_LEFT_TO_FOLD, &[]).await };
        let (is_left,): (bool,) = store.attempt_long(is_left).await?;
        if !is_left {
            return Ok(());
        }
        tokio::time::sleep(FOLDING_PAUSE).await;
    }
    tracing::warn!("the names of products that are locked are not folded yet");
    Ok(())
}
