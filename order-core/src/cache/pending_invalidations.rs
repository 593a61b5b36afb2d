//! Invalidations that the cache did not take yet: ids and versions, and no more of them than a
//! bound. Past it, everything is invalid until the cache has forgotten everything.

use std::{collections::HashMap, sync::Mutex};

use crate::{domain::ProductId, sync::lock};

/// The most products that are remembered; some 40 bytes each.
pub(super) const MAX_PRODUCTS: usize = 100_000;
/// The most products in doubt that one attempt reads again.
const MAX_UNCERTAIN: usize = 100;

/// The knowledge of a product's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The product has at least this version.
    Outdated(i64),
    /// The outcome of its last change is unknown: its state has to be read again. The number tells
    /// one such change from another.
    Uncertain(u64),
}

/// The invalidations to hand over next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// These products.
    Products(Vec<(ProductId, Change)>),
    /// To forget everything.
    Everything(Overflow),
}

/// The number of changes that could not be remembered by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow(u64);

#[derive(Debug, Default)]
struct State {
    products: HashMap<ProductId, Change>,
    uncertain_changes: u64,
    /// Set when all products are invalid.
    everything: Option<Overflow>,
    /// True while a task hands them over.
    is_repairing: bool,
}

impl State {
    fn add(&mut self, id: ProductId, version: Option<i64>) {
        let known = self.products.get(&id).copied();
        let change = match (version, known) {
            (None, _) => {
                self.uncertain_changes += 1;
                Change::Uncertain(self.uncertain_changes)
            }
            // It is read after this.
            (_, Some(Change::Uncertain(number))) => Change::Uncertain(number),
            (Some(version), Some(Change::Outdated(known))) => Change::Outdated(version.max(known)),
            (Some(version), None) => Change::Outdated(version),
        };
        self.products.insert(id, change);
    }

    fn add_everything(&mut self) {
        self.products = HashMap::new();
        let earlier = self.everything.map_or(0, |Overflow(number)| number);
        self.everything = Some(Overflow(earlier + 1));
    }

    /// Tells whether a task has to begin to hand invalidations over, which then counts as begun.
    fn begins(&mut self) -> bool {
        let is_idle = self.products.is_empty() && self.everything.is_none();
        !is_idle && !std::mem::replace(&mut self.is_repairing, true)
    }
}

/// Changes that the cache does not know of yet.
#[derive(Debug, Default)]
pub(super) struct PendingInvalidations {
    state: Mutex<State>,
}

impl PendingInvalidations {
    /// True when the cache may be wrong about a product.
    pub(super) fn contains(&self, id: ProductId) -> bool {
        let state = lock(&self.state);
        state.everything.is_some() || state.products.contains_key(&id)
    }

    /// The number of them: products, or one when everything is invalid.
    pub(super) fn len(&self) -> usize {
        let state = lock(&self.state);
        state.products.len() + usize::from(state.everything.is_some())
    }

    /// Remembers products and the version that they have at least, where it is known; true when a
    /// task has to begin to hand them over.
    pub(super) fn add(&self, changes: impl Iterator<Item = (ProductId, Option<i64>)>) -> bool {
        let mut state = lock(&self.state);
        for (id, version) in changes {
            if state.everything.is_none() && state.products.len() < MAX_PRODUCTS {
                state.add(id, version);
            } else {
                state.add_everything();
                break;
            }
        }
        state.begins()
    }

    /// Remembers that any product may have changed, likewise.
    pub(super) fn add_everything(&self) -> bool {
        let mut state = lock(&self.state);
        state.add_everything();
        state.begins()
    }

    /// The next up to `limit` of them. A task that gets nothing is done, and the next addition
    /// begins another.
    pub(super) fn next(&self, limit: usize) -> Next {
        let mut state = lock(&self.state);
        if let Some(overflow) = state.everything {
            return Next::Everything(overflow);
        }
        if state.products.is_empty() {
            // Its memory may be that of many.
            state.products = HashMap::new();
            state.is_repairing = false;
            return Next::Nothing;
        }
        let of = |is_uncertain: bool, limit: usize| {
            let products = state.products.iter();
            products
                .filter(move |(_, change)| matches!(change, Change::Uncertain(_)) == is_uncertain)
                .map(|(id, change)| (*id, *change))
                .take(limit)
        };
        Next::Products(of(false, limit).chain(of(true, MAX_UNCERTAIN)).collect())
    }

    /// Forgets those that the cache took; changes that came in between stay.
    pub(super) fn delivered(&self, changes: &[(ProductId, Change)]) {
        let mut state = lock(&self.state);
        for (id, change) in changes {
            if state.products.get(id) == Some(change) {
                state.products.remove(id);
            }
        }
    }

    /// Ends an overflow after the cache has forgotten everything. Changes that came in between are
    /// not covered by that: then it has to do so again.
    pub(super) fn forgotten(&self, overflow: Overflow) {
        let mut state = lock(&self.state);
        if state.everything == Some(overflow) {
            state.everything = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> ProductId {
        ProductId(Uuid::from_u128(number))
    }

    fn add(
        pending: &PendingInvalidations,
        numbers: std::ops::Range<u128>,
        version: Option<i64>,
    ) -> bool {
        pending.add(numbers.map(|number| (id(number), version)))
    }

    fn products(pending: &PendingInvalidations) -> Vec<(ProductId, Change)> {
        match pending.next(9) {
            Next::Products(products) => products,
            next => panic!("{next:?}"),
        }
    }

    #[test]
    fn what_was_delivered_is_forgotten_and_what_came_in_between_is_not() {
        let pending = PendingInvalidations::default();
        assert!(add(&pending, 0..3, Some(5)), "a task has to begin");
        assert!(!add(&pending, 2..4, Some(4)), "one is at work");
        let delivered = products(&pending);
        assert_eq!(delivered.len(), 4);
        assert!(
            delivered.contains(&(id(2), Change::Outdated(5))),
            "the newest"
        );
        add(&pending, 0..1, Some(6));
        pending.delivered(&delivered);
        assert_eq!(products(&pending), [(id(0), Change::Outdated(6))]);
        assert!(pending.contains(id(0)) && !pending.contains(id(1)));
        pending.delivered(&products(&pending));
        assert_eq!(pending.next(9), Next::Nothing);
        assert!(add(&pending, 0..1, Some(7)), "it begins anew");
    }

    #[test]
    fn what_is_uncertain_is_read_again_after_each_such_change() {
        let pending = PendingInvalidations::default();
        add(&pending, 0..1, Some(5));
        add(&pending, 0..1, None);
        add(&pending, 0..1, Some(6));
        let read = products(&pending);
        assert!(matches!(read[..], [(_, Change::Uncertain(_))]), "{read:?}");
        add(&pending, 0..1, None);
        pending.delivered(&read);
        assert!(pending.contains(id(0)), "another came after the read");
        pending.delivered(&products(&pending));
        assert_eq!(pending.next(9), Next::Nothing);
    }

    #[test]
    fn past_the_bound_everything_is_invalid_until_all_is_forgotten() {
        let pending = PendingInvalidations::default();
        let bound = MAX_PRODUCTS as u128;
        add(&pending, 0..bound, Some(1));
        assert_eq!(pending.len(), MAX_PRODUCTS);
        add(&pending, bound..bound + 1, Some(1));
        assert_eq!(pending.len(), 1, "no product is remembered by itself");
        assert!(pending.contains(id(u128::MAX)));
        let Next::Everything(overflow) = pending.next(9) else {
            panic!("everything is to be forgotten");
        };
        add(&pending, 0..1, Some(2));
        pending.forgotten(overflow);
        assert!(pending.contains(id(0)), "a change came in between");
        let Next::Everything(overflow) = pending.next(9) else {
            panic!("everything is to be forgotten again");
        };
        pending.forgotten(overflow);
        assert_eq!(pending.next(9), Next::Nothing);
    }
}
