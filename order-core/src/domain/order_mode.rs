//! The two ways to place an order.

/// The way in which an order is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderMode {
    /// Accepted now, decided later.
    Accept,
    /// Decided at once.
    Purchase,
}
