//! Many products in one transaction: what an import creates and changes.
//!
//! No batch waits for a product: one that is in use is left out, for its own transaction. So whoever
//! sells waits for a batch no longer than that takes, and no batch waits for whoever sells. New
//! products are inserted in the order of their skus, in which two batches meet.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    audit,
    backend::{Priority, SqlBackend, SqlConnection, SqlTransaction},
    products::is_adjusted,
    retry::Attempt,
    rows::{self, ProductRow},
    stock,
    value::Value,
};
use crate::{
    audit::AuditChange,
    domain::{AdjustmentId, NewProduct, Product, ProductChange, ProductId, StockAdjustment},
    error::Error,
};

pub(super) async fn named<B: SqlBackend>(
    backend: &B,
    skus: &[String],
    ids: &[ProductId],
) -> Result<Vec<Product>, Error> {
    let mut connection = backend.read().await?;
    let mut found: Vec<ProductRow> = Vec::new();
    if !skus.is_empty() {
        let skus = [Value::Texts(skus)];
        found.extend(connection.fetch_all(B::SQL.products.by_skus, &skus).await?);
    }
    if !ids.is_empty() {
        let ids = [Value::Ids(ids.iter().map(|id| id.0).collect())];
        let rows: Vec<ProductRow> = connection.fetch_all(B::SQL.products.by_ids, &ids).await?;
        found.extend(rows);
    }
    rows::products(found)
}

pub(super) async fn create<B: SqlBackend>(
    backend: &B,
    products: &[NewProduct],
    attempt: Attempt,
) -> Result<Vec<Result<Product, Error>>, Error> {
    let mut tx = backend.begin(Priority::Background, None).await?;
    let mut new: Vec<Product> = products
        .iter()
        .map(|product| product.clone().into_product())
        .collect();
    new.sort_by(|a, b| a.sku.cmp(&b.sku));
    // Inserting an id or a sku waits for the earlier attempt that inserted it.
    let inserted = tx.insert_products(&new).await?;
    let inserted: HashSet<ProductId> = inserted.into_iter().map(ProductId).collect();
    let mut stored = inserted.clone();
    if attempt.resolving {
        let ids: Vec<ProductId> = new.iter().map(|product| product.id).collect();
        stored.extend(stock::prices(&mut *tx, &ids).await?.0.into_keys());
    }
    let ledger: Vec<StockAdjustment> = products
        .iter()
        .filter(|product| inserted.contains(&product.id))
        .map(StockAdjustment::initial)
        .collect();
    tx.insert_adjustments(&ledger).await?;
    let created = new.iter().filter(|product| inserted.contains(&product.id));
    audit::record_all(&mut *tx, created.map(AuditChange::product_created)).await?;
    tx.commit().await?;
    let result = |product: &NewProduct| {
        let is_stored = stored.contains(&product.id);
        let product = product.clone().into_product();
        is_stored.then_some(product).ok_or(Error::SkuTaken)
    };
    Ok(products.iter().map(result).collect())
}

pub(super) async fn update<B: SqlBackend>(
    backend: &B,
    changes: &[(ProductId, ProductChange, AdjustmentId)],
    at: DateTime<Utc>,
    attempt: Attempt,
) -> Result<Vec<Result<Product, Error>>, Error> {
    let mut tx = backend
        .begin(Priority::Background, attempt.lock_wait)
        .await?;
    let ids = changes.iter().map(|(id, ..)| id.0).collect::<Vec<Uuid>>();
    let lock = if attempt.resolving {
        // The earlier attempt may still be committing, and has these rows.
        B::SQL.products.lock_all
    } else {
        B::SQL.products.lock_free
    };
    let locked: Vec<ProductRow> = tx.fetch_all(lock, &[Value::Ids(ids)]).await?;
    let locked = rows::products(locked)?.into_iter();
    let mut locked: HashMap<ProductId, Product> = locked.map(|one| (one.id, one)).collect();
    let (mut results, mut before, mut after, mut ledger) = (vec![], vec![], vec![], vec![]);
    for (id, change, adjustment_id) in changes {
        let Some(product) = locked.remove(id) else {
            results.push(Err(Error::Locked));
            continue;
        };
        if attempt.resolving && is_adjusted(&mut *tx, *adjustment_id).await? {
            results.push(Ok(product));
            continue;
        }
        let changed = change.apply(product.clone(), at).map_err(Error::from);
        if let Ok(changed) = &changed {
            ledger.push(StockAdjustment::set(*adjustment_id, product.stock, changed));
            before.push(product);
            after.push(changed.clone());
        }
        results.push(changed);
    }
    tx.insert_adjustments(&ledger).await?;
    tx.write_products(&after).await?;
    let log = before.iter().zip(&after);
    let log = log.map(|(before, after)| AuditChange::product_updated(before, after));
    audit::record_all(&mut *tx, log).await?;
    tx.commit().await?;
    Ok(results)
}
