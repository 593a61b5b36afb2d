//! Watching orders and products live: a watch of an order sees each state that it comes to, and
//! one of a product each version that it is looked at in, whichever process changes them.

mod order;
mod product;
mod watcher;

pub use order::Watch;
pub(crate) use order::{Orders, watch_order};
pub use product::{LiveProduct, ProductWatch};
pub(crate) use product::{Products, watch_product};
pub(crate) use watcher::Watcher;

/// What is watched, and the queries that it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchStats {
    /// Orders that are watched. A watch that was dropped counts until the next poll.
    pub orders: usize,
    /// Queries that were made for them since the process started.
    pub queries: u64,
    /// Products that are watched, likewise.
    pub products: usize,
    /// Queries that were made for these.
    pub product_queries: u64,
}
