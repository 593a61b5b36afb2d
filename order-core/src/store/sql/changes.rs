//! What attempts at a transaction change: known also when it stays in doubt.

use std::sync::Mutex;

use super::{
    backend::{SqlBackend, SqlConnection},
    retry::{Retry, with_retry},
    rows,
    value::Value,
};
use crate::{
    domain::{Product, ProductId},
    error::Error,
    sync::lock,
};

/// Products that the attempts at a transaction lock and change.
#[derive(Default)]
pub(super) struct Changes {
    changed: Mutex<Vec<ProductId>>,
    pub(super) wanted: Mutex<Vec<ProductId>>,
}

impl Changes {
    /// Records what an attempt is about to change: when its commit stays in doubt, and the next
    /// attempt has other work, these are the products that may have changed.
    pub(super) fn record_changes(&self, products: &[Product]) {
        lock(&self.changed).extend(products.iter().map(|product| product.id));
    }

    /// The products that attempts in doubt may have changed.
    fn uncertain(&self, retry: &Retry) -> Vec<ProductId> {
        let changed = || std::mem::take(&mut *lock(&self.changed));
        retry.is_resolving().then(changed).unwrap_or_default()
    }

    /// The same products as they are now, those of them that are living.
    pub(super) async fn read_uncertain<B: SqlBackend>(
        &self,
        backend: &B,
        retry: &Retry,
    ) -> Result<Vec<Product>, Error> {
        let uncertain = self.uncertain(retry);
        if uncertain.is_empty() {
            return Ok(Vec::new());
        }
        with_retry(backend, |_| living(backend, &uncertain)).await
    }
}

/// Those of `products` that are living. Waits for whoever is changing them: an attempt in doubt may
/// still be at its commit.
async fn living<B: SqlBackend>(backend: &B, products: &[ProductId]) -> Result<Vec<Product>, Error> {
    let ids = Value::Ids(products.iter().map(|id| id.0).collect());
    let mut connection = backend.read().await?;
    let rows = connection.fetch_all(B::SQL.products.living, &[ids]).await?;
    rows::products(rows)
}
