//! Steps between reading and writing, as pure functions.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::backend::Pieces;
use crate::{
    decision::{Asking, BatchStock, Decided, Granted, requested_of},
    domain::{
        HoldTime, MAX_STOCK, Money, NewOrder, Order, OrderId, Product, ProductId, RequestedLine,
        SaleTerms,
    },
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
    pub(super) terms: SaleTerms,
    /// No hold of it lapses before that time; none has one that is open.
    pub(super) lapses_at: Option<DateTime<Utc>>,
}

/// Products as they were read together.
#[derive(Clone, Debug, Default)]
pub(super) struct LockedProducts {
    pub(super) products: Vec<LockedProduct>,
    /// The time, by the clock of the database, when all were locked.
    pub(super) now: DateTime<Utc>,
}

impl LockedProducts {
    /// Tells whether any has a limit per customer.
    #[cfg(feature = "postgres")]
    pub(super) fn has_limits(&self) -> bool {
        let mut products = self.products.iter();
        products.any(|product| product.terms.limit_per_customer.is_some())
    }

    /// Puts pieces back that came from elsewhere.
    pub(super) fn give(&mut self, returned: &Pieces) {
        for product in &mut self.products {
            let own = returned.iter().filter(|(id, _)| *id == product.id);
            product.stock += own.map(|(_, pieces)| pieces).sum::<i64>();
        }
    }
}

/// The products that `lines` together ask more of than is left, and of which holds may have lapsed.
pub(super) fn short<'a>(
    locked: &LockedProducts,
    lines: impl Iterator<Item = &'a RequestedLine>,
) -> Vec<ProductId> {
    let has_lapsed =
        |product: &&LockedProduct| product.lapses_at.is_some_and(|at| at <= locked.now);
    let mut left: HashMap<ProductId, i64> = locked
        .products
        .iter()
        .filter(has_lapsed)
        .map(|product| (product.id, product.stock))
        .collect();
    if !left.is_empty() {
        for line in lines {
            if let Some(left) = left.get_mut(&line.product_id) {
                *left = left.saturating_sub(line.quantity.get());
            }
        }
    }
    left.retain(|_, left| *left < 0);
    left.into_keys().collect()
}

/// Those of `lapsed` orders whose products are all locked and have room for what comes back, and the
/// pieces that these get.
pub(super) fn expire(lapsed: &[Order], locked: &[LockedProduct]) -> (Vec<Order>, Pieces) {
    let mut room: HashMap<ProductId, (i64, i64)> = locked
        .iter()
        .map(|product| (product.id, (MAX_STOCK - product.stock, 0)))
        .collect();
    let mut expired = Vec::with_capacity(lapsed.len());
    for order in lapsed {
        let lines = order.kept_lines();
        let pieces = |id| requested_of(id, &lines);
        let products = products_of(&lines);
        let fits = |id: &ProductId| room.get(id).is_some_and(|(room, _)| pieces(*id) <= *room);
        if !products.iter().all(fits) {
            continue;
        }
        for id in products {
            if let Some((room, returned)) = room.get_mut(&id) {
                *room -= pieces(id);
                *returned += pieces(id);
            }
        }
        expired.push(order.clone());
    }
    let returned = room.into_iter().map(|(id, (_, returned))| (id, returned));
    (
        expired,
        returned.filter(|(_, pieces)| *pieces > 0).collect(),
    )
}

/// The stock of locked products, for orders to take from.
pub(super) fn batch_stock(locked: &LockedProducts) -> BatchStock {
    let mut batch_stock = BatchStock::with_capacity(locked.products.len()).at(locked.now);
    for product in &locked.products {
        let on_sale = !product.archived;
        batch_stock.insert_on_terms(product.id, product.stock, on_sale, product.terms);
    }
    batch_stock
}

/// The prices of the products that are not archived.
pub(super) fn prices(products: &[LockedProduct]) -> Prices {
    let living = products.iter().filter(|product| !product.archived);
    let prices = living.map(|product| {
        let is_limited = product.terms.limit_per_customer.is_some();
        (product.id, (product.price, is_limited))
    });
    Prices(prices.collect())
}

/// The prices of products, and whether they have a limit per customer.
pub(super) struct Prices(pub(super) HashMap<ProductId, (Money, bool)>);

impl Prices {
    /// The pending order, at these prices.
    ///
    /// # Errors
    /// As [`NewOrder::priced`]; [`Error::Invalid`] that names `customer` when there is none, and a
    /// product has a limit for each.
    pub(super) fn order(&self, order: &NewOrder) -> Result<Order, Error> {
        let of = |id| self.0.get(&id);
        let priced = order.priced(|id| of(id).map(|(price, _)| *price))?;
        let is_limited = |line: &RequestedLine| of(line.product_id).is_some_and(|it| it.1);
        if order.customer.is_none() && order.lines.iter().any(is_limited) {
            let reason = "is missing: a product has a limit per customer";
            return Err(Error::invalid("customer", reason));
        }
        Ok(priced)
    }
}

/// Decides an order: one that gets its stock comes back as it is then, decided when it came, and
/// held from `now` on if it asks for that.
pub(super) fn sell(
    order: &NewOrder,
    prices: &Prices,
    batch_stock: &mut BatchStock,
    now: DateTime<Utc>,
) -> Result<Order, Error> {
    let priced = prices.order(order)?;
    batch_stock.decide_for(
        &order.lines,
        asking(order.id, order.customer.as_deref(), order.hold_time),
    )?;
    Ok(priced.granted(order.created_at, now))
}

/// A pending order with its lines, as it is read to be decided.
#[derive(Clone, Debug)]
pub(crate) struct PendingOrder {
    pub(super) id: OrderId,
    pub(super) hold_time: Option<HoldTime>,
    pub(super) customer: Option<String>,
    pub(super) lines: Vec<RequestedLine>,
}

fn asking(id: OrderId, customer: Option<&str>, hold_time: Option<HoldTime>) -> Asking<'_> {
    Asking {
        customer,
        held_order: hold_time.map(|_| id),
    }
}

/// Decides pending orders, in the order given.
pub(super) fn decide(
    pending: &[PendingOrder],
    batch_stock: &mut BatchStock,
    now: DateTime<Utc>,
) -> Vec<Decided> {
    let decide = |order: &PendingOrder| {
        let asking = asking(order.id, order.customer.as_deref(), order.hold_time);
        let taken = batch_stock.decide_for(&order.lines, asking);
        let decision = taken.map(|()| Granted::at(now, order.hold_time));
        (order.id, decision)
    };
    pending.iter().map(decide).collect()
}

/// The latest of the times at which a batch of orders came: when its products changed.
pub(super) fn latest(orders: &[NewOrder]) -> DateTime<Utc> {
    orders
        .iter()
        .map(|order| order.created_at)
        .max()
        .unwrap_or_default()
}

/// Checks that there is room for what comes back when `lines` are taken back.
///
/// # Errors
/// [`Error::StockLimit`] for the first product, in id order, that would have too much.
pub(super) fn check_room(products: &[LockedProduct], lines: &[RequestedLine]) -> Result<(), Error> {
    let is_full =
        |product: &&LockedProduct| product.stock + requested_of(product.id, lines) > MAX_STOCK;
    match products.iter().find(is_full).map(|product| product.id) {
        Some(product_id) => Err(Error::StockLimit { product_id }),
        None => Ok(()),
    }
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
