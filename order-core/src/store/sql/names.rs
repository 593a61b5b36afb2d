//! Folding the names of products that were written past this version: by an older version that is
//! still running, or by a person.

use uuid::Uuid;

use super::{
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    products::ProductSteps,
    retry::Retry,
    rows::folds,
    value::Value,
};
use crate::error::Error;

/// The number of names that are folded in one transaction: their products are locked meanwhile.
const FOLDED_NAMES: i64 = 500;

/// Folds names, in the order of their ids; gives their number.
pub(super) async fn fold_names<B: ProductSteps>(backend: &B) -> Result<u64, Error> {
    let (mut after, mut count) = (Uuid::nil(), 0);
    while backend.may_have_unfolded_names().await? {
        let mut retry = Retry::long();
        let batch = retry.run(backend, |_| fold_after(backend, after)).await?;
        let Some(last) = batch.last().copied() else {
            break;
        };
        after = last;
        count += batch.len() as u64;
    }
    Ok(count)
}

/// Folds the next names after `after`, and gives their ids. Neither sales nor others that fold hold
/// this up: a product that is locked is skipped.
async fn fold_after<B: SqlBackend>(backend: &B, after: Uuid) -> Result<Vec<Uuid>, Error> {
    let mut tx = backend.begin(Priority::Background, None).await?;
    let values = [Value::Id(after), Value::Int(FOLDED_NAMES)];
    let names: Vec<(Uuid, String)> = tx.fetch_all(B::SQL.products.unfolded, &values).await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let (ids, folds) = folds(names);
    tx.write_folds(&ids, folds).await?;
    tx.commit().await?;
    Ok(ids)
}
