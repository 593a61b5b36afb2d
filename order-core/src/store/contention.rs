//! Products that cannot be locked for now.
//!
//! A session may hold the row of a product and not let go: one that was forgotten, or whose process
//! hangs. An operation that waited for the row would hold up all that waits behind it. So a store
//! waits for a lock shortly. A product that it could not lock in that time, and that did not change
//! meanwhile, is contended: orders that contain it are set aside, and the others are decided. A busy
//! product is not contended: one that several servers sell is locked nearly always, but it changes
//! all the time. A product that was found contended is watched until it can be locked or changes.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    domain::{ProductId, RequestedLine},
    metrics,
    sync::lock,
};

/// The most products that are known as contended; any more are waited for shortly, each time.
const MAX_PRODUCTS: usize = 100_000;

/// The products that a store of this process could not lock.
#[derive(Debug, Default)]
pub struct Contention {
    state: Mutex<State>,
    /// The number of times that products ceased to be contended.
    ends: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the version that it had when it could not be locked.
    products: BTreeMap<ProductId, i64>,
    /// The number of products that were ever contended.
    total: u64,
    /// The first pending order that claims left out.
    left_out: Option<Uuid>,
    is_watched: bool,
}

/// The contended products at one time, for a claim to leave their orders out.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) products: Vec<Uuid>,
    ends: u64,
}

impl Contention {
    /// Tells whether no product is contended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().products.is_empty()
    }

    /// Tells whether this product is contended.
    #[must_use]
    pub fn contains(&self, product: ProductId) -> bool {
        self.state().products.contains_key(&product)
    }

    /// The number of products that were ever found contended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.state().total
    }

    /// Changes whenever products cease to be contended.
    #[must_use]
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.ends.subscribe()
    }

    /// Any of the contended products.
    pub(crate) fn any(&self) -> Option<ProductId> {
        self.state().products.keys().next().copied()
    }

    /// The first of these products that is contended.
    pub(super) fn first_of(
        &self,
        products: impl IntoIterator<Item = ProductId>,
    ) -> Option<ProductId> {
        let state = self.state();
        if state.products.is_empty() {
            return None;
        }
        let mut products = products.into_iter();
        products.find(|product| state.products.contains_key(product))
    }

    /// The first contended product among `lines`.
    pub(super) fn among(&self, lines: &[RequestedLine]) -> Option<ProductId> {
        self.first_of(lines.iter().map(|line| line.product_id))
    }

    /// The products to leave out; `None` when there are none.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let state = self.state();
        (!state.products.is_empty()).then(|| Snapshot {
            products: state.products.keys().map(|id| id.0).collect(),
            ends: *self.ends.borrow(),
        })
    }

    /// Notes that a claim left out orders from `first` on. False when something ceased to be
    /// contended since `snapshot`: then they are to be looked at again at once.
    pub(super) fn left_out(&self, snapshot: &Snapshot, first: Uuid) -> bool {
        let mut state = self.state();
        let is_current = *self.ends.borrow() == snapshot.ends;
        if is_current {
            state.left_out = Some(state.left_out.map_or(first, |before| before.min(first)));
        }
        is_current
    }

    /// Notes products that could not be locked at these versions; whether the caller has to watch
    /// them from now on.
    pub(super) fn begin(&self, locked: impl IntoIterator<Item = (ProductId, i64)>) -> bool {
        let mut state = self.state();
        let before = state.products.len();
        for (product, version) in locked {
            if state.products.len() < MAX_PRODUCTS {
                state.products.entry(product).or_insert(version);
            }
        }
        let new = state.products.len() - before;
        state.total += new as u64;
        metrics::contended(new);
        if new > 0 {
            tracing::warn!(
                products = new,
                first = state.products.keys().next().map(tracing::field::display),
                "products are locked by somebody who does not let go: their orders are set aside"
            );
        }
        let is_first = !state.products.is_empty() && !state.is_watched;
        state.is_watched |= is_first;
        is_first
    }

    /// Up to `limit` contended products after `after`.
    pub(super) fn next(&self, after: Option<ProductId>, limit: usize) -> Vec<ProductId> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let range = state.products.range((from, Bound::Unbounded));
        range.take(limit).map(|(id, _)| *id).collect()
    }

    /// Notes which of the products that were looked at are `still` locked, at which versions; the
    /// others, and those that changed, are not contended any more. `look_again` is told the first
    /// order that claims left out, before any claim takes such orders in again.
    pub(super) fn looked_at(
        &self,
        products: &[ProductId],
        still: &HashMap<ProductId, i64>,
        look_again: impl FnOnce(Uuid),
    ) {
        let mut state = self.state();
        let ended: Vec<ProductId> = products
            .iter()
            .filter(|id| {
                let version = state.products.get(id);
                version.is_some() && still.get(id) != version
            })
            .copied()
            .collect();
        if ended.is_empty() {
            return;
        }
        if let Some(first) = state.left_out.take() {
            look_again(first);
        }
        for product in &ended {
            state.products.remove(product);
        }
        metrics::contention_ended(ended.len());
        tracing::info!(
            products = ended.len(),
            left = state.products.len(),
            "products can be locked again"
        );
        self.ends.send_modify(|ends| *ends += 1);
    }

    /// Tells whether there is nothing left to watch; whoever finds more has to watch it.
    pub(super) fn is_over(&self) -> bool {
        let mut state = self.state();
        state.is_watched = !state.products.is_empty();
        !state.is_watched
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is never left half written.
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(n: u128) -> ProductId {
        ProductId(Uuid::from_u128(n))
    }

    fn still(locked: &[(u128, i64)]) -> HashMap<ProductId, i64> {
        locked.iter().map(|(n, v)| (product(*n), *v)).collect()
    }

    #[test]
    fn a_product_is_contended_until_it_can_be_locked_or_has_changed() {
        for gone in [still(&[(2, 7)]), still(&[(1, 6), (2, 7)])] {
            let contention = Contention::default();
            assert!(contention.begin([(product(1), 5), (product(2), 7)]));
            assert!(!contention.begin([(product(2), 8)]), "it is watched");
            let looked_at = contention.next(None, 10);
            assert_eq!(looked_at, [product(1), product(2)]);
            contention.looked_at(&looked_at, &still(&[(1, 5), (2, 7)]), |_| {});
            assert!(contention.contains(product(1)));
            contention.looked_at(&looked_at, &gone, |_| {});
            assert!(!contention.contains(product(1)));
            assert!(contention.contains(product(2)));
            assert!(!contention.is_over());
            contention.looked_at(&looked_at, &still(&[]), |_| {});
            assert!(contention.is_over());
            assert!(contention.begin([(product(1), 5)]), "nobody watches");
        }
    }

    #[test]
    fn what_was_left_out_is_looked_at_again_also_when_the_end_came_in_between() {
        let contention = Contention::default();
        contention.begin([(product(1), 5)]);
        let before = contention.snapshot().unwrap();
        assert!(contention.left_out(&before, Uuid::from_u128(30)));
        assert!(contention.left_out(&before, Uuid::from_u128(20)));
        assert!(contention.left_out(&before, Uuid::from_u128(40)));
        let mut from = None;
        contention.looked_at(&[product(1)], &still(&[]), |first| from = Some(first));
        assert_eq!(from, Some(Uuid::from_u128(20)));
        assert!(!contention.left_out(&before, Uuid::from_u128(50)));
        assert!(contention.snapshot().is_none());
    }
}
