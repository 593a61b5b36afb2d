//! The lines of an order, before and after its prices are known.

use serde::Serialize;

use super::{Money, ProductId, Quantity};

/// One line of a request: so many of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestedLine {
    /// The product.
    pub product_id: ProductId,
    /// The pieces of it.
    pub quantity: Quantity,
}

/// One line of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// The product.
    pub product_id: ProductId,
    /// The pieces of it.
    pub quantity: Quantity,
    /// The price of one piece when the order was accepted.
    pub unit_price: Money,
    /// The pieces of them that were cancelled, which went back if they had been sold.
    pub cancelled_quantity: i64,
}

impl OrderLine {
    /// The pieces that are not cancelled.
    #[must_use]
    pub const fn kept(&self) -> i64 {
        self.quantity.get() - self.cancelled_quantity
    }
}

/// The sum over what is not cancelled of the lines; `None` when it does not fit: 100 lines of
/// 1 000 000 pieces may be 10^23.
pub(super) fn total(lines: &[OrderLine]) -> Option<Money> {
    let minor_units = lines.iter().try_fold(0_i64, |sum, line| {
        let price = line.unit_price.minor_units();
        sum.checked_add(line.kept().checked_mul(price)?)
    });
    Money::from_minor_units(minor_units?)
}
