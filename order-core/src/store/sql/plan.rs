//! Steps between reading and writing, as pure functions.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::{
    decision::Decided,
    decision::{BatchStock, requested_of},
    domain::{MAX_STOCK, Money, NewOrder, Order, OrderId, Product, ProductId, RequestedLine},
    error::Error,
};

/// The ids of the products that `lines` name, each once, in id order: the lock order.
pub(super) fn products_of<'a>(
    lines: impl IntoIterator<Item = &'a RequestedLine>,
) -> Vec<ProductId> {
    let mut ids: Vec<ProductId> = lines.into_iter().map(|line| line.product_id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// A product as it is read under its lock, or (for an optimistic purchase) without one, to be
/// checked under the lock later.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockedProduct {
    pub(super) id: ProductId,
    pub(super) price: Money,
    pub(super) stock: i64,
    pub(super) archived: bool,
}

/// The stock of locked products, for orders to take from.
pub(super) fn batch_stock(products: &[LockedProduct]) -> BatchStock {
    let mut batch_stock = BatchStock::with_capacity(products.len());
    for product in products {
        batch_stock.insert(product.id, product.stock, !product.archived);
    }
    batch_stock
}

/// The prices of the products that are still on sale.
pub(super) fn prices(products: &[LockedProduct]) -> HashMap<ProductId, Money> {
    products
        .iter()
        .filter(|product| !product.archived)
        .map(|product| (product.id, product.price))
        .collect()
}

/// Decides an order: a sold one comes back as a successful order that was decided when it came.
pub(super) fn sell(
    order: &NewOrder,
    prices: &HashMap<ProductId, Money>,
    batch_stock: &mut BatchStock,
) -> Result<Order, Error> {
    let priced = order.priced(|id| prices.get(&id).copied())?;
    batch_stock.decide(&order.lines)?;
    Ok(priced.sold(order.created_at))
}

/// A pending order with its lines, as it is read to be decided.
#[derive(Clone, Debug)]
pub(crate) struct PendingOrder {
    pub(super) id: OrderId,
    pub(super) lines: Vec<RequestedLine>,
}

/// Decides pending orders, in the order given.
pub(super) fn decide(pending: &[PendingOrder], batch_stock: &mut BatchStock) -> Vec<Decided> {
    pending
        .iter()
        .map(|order| (order.id, batch_stock.decide(&order.lines)))
        .collect()
}

/// The latest of the times at which a batch of orders came: when its products changed.
pub(super) fn latest(orders: &[NewOrder]) -> DateTime<Utc> {
    orders
        .iter()
        .map(|order| order.created_at)
        .max()
        .unwrap_or_default()
}

/// The pieces that go back to each product, in id order, when `lines` are taken back.
///
/// # Errors
/// [`Error::StockLimit`] for the first that would have too much.
pub(super) fn restock(
    products: &[LockedProduct],
    lines: &[RequestedLine],
) -> Result<Vec<(ProductId, i64)>, Error> {
    products
        .iter()
        .map(|product| {
            let pieces = requested_of(product.id, lines);
            if product.stock + pieces > MAX_STOCK {
                return Err(Error::StockLimit {
                    product_id: product.id,
                });
            }
            Ok((product.id, pieces))
        })
        .collect()
}

/// Those of `changed` that are not archived.
pub(super) fn living(products: &[LockedProduct], mut changed: Vec<Product>) -> Vec<Product> {
    changed.retain(|product| !products.iter().any(|p| p.id == product.id && p.archived));
    changed
}

/// Fails when a guarded write of `expected` decisions did not reach all of its orders.
pub(super) fn expect_all_written(expected: usize, written: u64) -> Result<(), Error> {
    if usize::try_from(written).ok() == Some(expected) {
        Ok(())
    } else {
        Err(Error::corrupt(format!(
            "{written} of {expected} claimed orders were still pending"
        )))
    }
}
