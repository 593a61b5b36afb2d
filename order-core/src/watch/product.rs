//! Watching products: their price, stock and terms, as they are looked at five times a second. What
//! changes more often is told as it is at the next look.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::watcher::{Subject, Watcher};
use crate::{
    domain::{Money, Product, ProductId, SaleTerms},
    error::Error,
    store::ProductStore,
};

/// What changes of a product until it is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveProduct {
    /// The product.
    pub id: ProductId,
    /// The price of one piece.
    pub price: Money,
    /// Pieces left.
    pub stock: i64,
    /// The terms on which it is sold.
    pub terms: SaleTerms,
    /// Grows with every change.
    pub version: i64,
    /// The time of its last change.
    pub updated_at: DateTime<Utc>,
}

impl From<&Product> for LiveProduct {
    fn from(product: &Product) -> Self {
        Self {
            id: product.id,
            price: product.price,
            stock: product.stock,
            terms: product.terms,
            version: product.version,
            updated_at: product.updated_at,
        }
    }
}

/// The products of a store; none is the state of one that is archived.
pub(crate) struct Products(pub(crate) Arc<dyn ProductStore>);

#[async_trait]
impl Subject for Products {
    type Id = ProductId;
    type State = Option<LiveProduct>;

    const TICK: Duration = Duration::from_millis(200);
    /// Nothing wakes it: there are at most five looks a second, however many come and go.
    const GAP: Duration = Self::TICK;

    async fn look(&self, ids: &[ProductId]) -> Result<Vec<(ProductId, Self::State)>, Error> {
        let found = self.0.products_named(&[], ids).await?;
        let living: HashMap<ProductId, LiveProduct> = found
            .iter()
            .map(|product| (product.id, product.into()))
            .collect();
        Ok(ids
            .iter()
            .map(|id| (*id, living.get(id).copied()))
            .collect())
    }
}

/// Watches a product, from now on until the watch is dropped.
pub(crate) fn watch_product(
    watcher: &Watcher<Products>,
    id: ProductId,
) -> Result<ProductWatch, Error> {
    let known = watcher.subscribe(id)?;
    Ok(ProductWatch { known })
}

/// A product that is being watched, until this is dropped.
#[derive(Debug)]
pub struct ProductWatch {
    known: watch::Receiver<Option<Option<LiveProduct>>>,
}

impl ProductWatch {
    /// Waits until the product is at another version than `seen`, and gives it as it is then; without
    /// `seen`, as it is. `None` when it is archived, or never was there.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn changed(&mut self, seen: Option<i64>) -> Result<Option<LiveProduct>, Error> {
        let is_news =
            |state: &Option<LiveProduct>| state.is_none_or(|product| Some(product.version) != seen);
        let known = self
            .known
            .wait_for(|known| known.as_ref().is_some_and(is_news))
            .await;
        known.ok().and_then(|known| *known).ok_or(Error::Stopping)
    }
}
