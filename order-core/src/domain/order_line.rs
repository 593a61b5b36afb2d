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
}
