//! The words of the system: plain data, checked when it is made, with no I/O.
//!
//! Whatever exists as one of these types has passed its bounds, so that nothing
//! downstream checks again. What comes from outside goes through a constructor
//! that names the field it refuses.

mod fold;
mod id;
mod idempotency;
mod money;
mod order;
mod page;
mod product;
mod progress;
mod quantity;
mod text;
mod trace_parent;

pub(crate) use fold::MAX_FOLDED_CHARS;
pub use fold::folded;
pub use id::{AdjustmentId, IdGenerator, KeyId, OrderId, ProductId};
pub(crate) use idempotency::{Fingerprint, Placing};
pub use idempotency::{IdempotencyKey, Replayable};
pub use money::Money;
pub use order::{
    Failure, FailureCode, NewOrder, Order, OrderLine, OrderRequest, OrderStatus, RequestedLine,
};
pub use page::{MAX_OFFSET_ROWS, Page, PageRequest, PageSize, PageStart};
pub use product::{
    MAX_STOCK, NewProduct, Product, ProductChange, ProductRequest, StockAdjustment, StockRequest,
};
pub use progress::{Progress, Stage};
pub use quantity::Quantity;
pub(crate) use text::bounded;
pub use trace_parent::TraceParent;
