//! What orders give back, as it is kept.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::{DateTime, Utc};

use crate::domain::{IdGenerator, OrderId, ProductId, RequestedLine, ReturnId};

/// One for the process, so that ids grow whatever service cancels or expires.
static IDS: LazyLock<IdGenerator> = LazyLock::new(IdGenerator::default);

/// Pieces of a product that an order gives back.
pub(crate) struct Returned {
    /// Of the return, which may be of several products.
    pub(crate) id: ReturnId,
    pub(crate) order_id: OrderId,
    pub(crate) product_id: ProductId,
    pub(crate) pieces: i64,
}

pub(super) fn new_id(at: DateTime<Utc>) -> ReturnId {
    ReturnId(IDS.next(at))
}

/// What `lines` of an order give back, in the order of the products.
pub(super) fn of_lines(id: ReturnId, order_id: OrderId, lines: &[RequestedLine]) -> Vec<Returned> {
    let pieces = lines
        .iter()
        .map(|line| (line.product_id, line.quantity.get()));
    let returned = summed(pieces).map(|(product_id, pieces)| Returned {
        id,
        order_id,
        product_id,
        pieces,
    });
    returned.collect()
}

/// The pieces that come back to each product, each once, in id order.
pub(super) fn sums(returned: &[Returned]) -> impl Iterator<Item = (ProductId, i64)> {
    summed(returned.iter().map(|one| (one.product_id, one.pieces)))
}

fn summed(
    pieces: impl Iterator<Item = (ProductId, i64)>,
) -> impl Iterator<Item = (ProductId, i64)> {
    let mut sums: BTreeMap<ProductId, i64> = BTreeMap::new();
    for (product, pieces) in pieces {
        *sums.entry(product).or_default() += pieces;
    }
    sums.into_iter()
}
