//! The answers of two stores, compared.

use std::fmt::Debug;

use chrono::{DateTime, Utc};

use crate::{
    decision::Granted,
    domain::{Failure, FailureDetail, Order, OrderId, Page, Product, Replayable, SaleTerms},
    error::Error,
    store::{Cancelled, Expired, Outcome},
};

/// An answer, whose times by the clock of its store can be made the same as those of any other: each
/// store has a clock of its own.
pub(super) trait Timeless {
    /// The same without the times that go by the clock of its store; it still tells which there are.
    fn timeless(self) -> Self;
}

impl Timeless for DateTime<Utc> {
    fn timeless(self) -> Self {
        Self::UNIX_EPOCH
    }
}

impl Timeless for Order {
    fn timeless(self) -> Self {
        Self {
            held_at: self.held_at.timeless(),
            held_until: self.held_until.timeless(),
            failure: self.failure.timeless(),
            ..self
        }
    }
}

impl Timeless for Product {
    fn timeless(self) -> Self {
        let terms = SaleTerms {
            on_sale_from: self.terms.on_sale_from.timeless(),
            on_sale_until: self.terms.on_sale_until.timeless(),
            ..self.terms
        };
        Self { terms, ..self }
    }
}

impl Timeless for Failure {
    fn timeless(self) -> Self {
        let detail = self.detail.map(|detail| match detail {
            FailureDetail::Window {
                on_sale_from,
                on_sale_until,
            } => FailureDetail::Window {
                on_sale_from: on_sale_from.timeless(),
                on_sale_until: on_sale_until.timeless(),
            },
            limit @ FailureDetail::Limit { .. } => limit,
        });
        Self { detail, ..self }
    }
}

impl Timeless for Granted {
    fn timeless(self) -> Self {
        match self {
            Self::Held { until } => Self::Held {
                until: until.timeless(),
            },
            Self::Sold => Self::Sold,
        }
    }
}

impl Timeless for Error {
    fn timeless(self) -> Self {
        match self {
            Self::HoldExpired { held_until } => Self::HoldExpired {
                held_until: held_until.timeless(),
            },
            Self::NotOnSale {
                product_id,
                on_sale_from,
                on_sale_until,
            } => Self::NotOnSale {
                product_id,
                on_sale_from: on_sale_from.timeless(),
                on_sale_until: on_sale_until.timeless(),
            },
            error => error,
        }
    }
}

impl<T: Timeless> Timeless for Replayable<T> {
    fn timeless(self) -> Self {
        Self {
            value: self.value.timeless(),
            ..self
        }
    }
}

impl<T: Timeless, Id> Timeless for Page<T, Id> {
    fn timeless(self) -> Self {
        Self {
            items: self.items.timeless(),
            ..self
        }
    }
}

impl Timeless for OrderId {
    fn timeless(self) -> Self {
        self
    }
}

impl Timeless for bool {
    fn timeless(self) -> Self {
        self
    }
}

impl<T: Timeless> Timeless for Option<T> {
    fn timeless(self) -> Self {
        self.map(T::timeless)
    }
}

impl<T: Timeless> Timeless for Vec<T> {
    fn timeless(self) -> Self {
        self.into_iter().map(T::timeless).collect()
    }
}

impl<T: Timeless, E: Timeless> Timeless for Result<T, E> {
    fn timeless(self) -> Self {
        self.map(T::timeless).map_err(E::timeless)
    }
}

impl<A: Timeless, B: Timeless> Timeless for (A, B) {
    fn timeless(self) -> Self {
        (self.0.timeless(), self.1.timeless())
    }
}

/// What each order came to, and the products that changed.
pub(super) fn sorted<T>(outcome: Outcome<T>) -> (Vec<T>, Vec<Product>) {
    (outcome.results, by_id(outcome.changed))
}

/// The order, whether it was cancelled before, and the products that changed.
pub(super) fn restocked(cancelled: Option<Cancelled>) -> Option<((Order, bool), Vec<Product>)> {
    cancelled.map(|cancelled| {
        let changed = by_id(cancelled.changed);
        ((cancelled.order, cancelled.replayed), changed)
    })
}

/// The orders that expired, and the products that changed.
pub(super) fn expired(expired: Expired) -> (Vec<OrderId>, Vec<Product>) {
    (expired.orders, by_id(expired.changed))
}

/// Changed products come in any order.
fn by_id(mut products: Vec<Product>) -> Vec<Product> {
    products.sort_by_key(|product| product.id);
    products
}

/// Compares what two stores answer, but for the times that each has by its own clock.
pub(super) fn same<T: Timeless + Debug>(
    store: Result<T, Error>,
    reference: Result<T, Error>,
) -> Result<(), String> {
    equal(&store.timeless(), &reference.timeless())
}

/// Compares what is printed: errors have no equality, and that is what a caller can tell apart.
pub(super) fn equal<T: Debug>(
    store: &Result<T, Error>,
    reference: &Result<T, Error>,
) -> Result<(), String> {
    let (store, reference) = (format!("{store:?}"), format!("{reference:?}"));
    if store == reference {
        Ok(())
    } else {
        Err(format!("\n     store: {store}\n reference: {reference}"))
    }
}
