//! Plain data, checked when it is made, with no I/O.
//!
//! A value of one of these types has passed its bounds, so that nothing downstream checks again.
//! Values from outside go through a constructor, whose [`ValidationError`] names the field that it
//! refuses; a [`RuleViolation`] says which rule a change would break.

mod currency;
mod failure;
mod fingerprint;
mod fold;
mod hold;
mod id;
mod idempotency;
mod money;
mod order;
mod order_line;
mod order_mode;
mod order_request;
mod order_return;
mod order_status;
mod order_version;
mod page;
mod product;
mod progress;
mod quantity;
mod rule_violation;
mod sale_terms;
mod sort;
mod stock_entry;
#[cfg(any(feature = "postgres", feature = "sqlite", feature = "testing"))]
mod stock_minute;
mod text;
mod time_range;
mod trace_parent;
mod validation_error;

pub use currency::{Currency, InCurrency};
pub use failure::{Failure, FailureCode, FailureDetail};
pub(crate) use fingerprint::Fingerprint;
pub(crate) use fold::MAX_FOLDED_CHARS;
pub use fold::folded;
pub use hold::HoldTime;
pub use id::{
    AdjustmentId, AuditId, ClientId, IdGenerator, KeyId, OrderId, ProductId, ReturnId, StockEntryId,
};
pub use idempotency::{IdempotencyKey, Replayable};
pub use money::Money;
pub use order::Order;
pub use order_line::{OrderLine, RequestedLine};
pub(crate) use order_mode::OrderMode;
pub use order_request::{NewOrder, OrderRequest};
pub use order_return::{OrderReturn, ReturnRequest};
pub use order_status::OrderStatus;
pub use order_version::{NotAVersion, OrderVersion};
pub use page::{MAX_OFFSET_ROWS, Page, PageRequest, PageSize, PageStart};
pub use product::{
    MAX_STOCK, NewProduct, Product, ProductChange, ProductRequest, StockAdjustment, StockRequest,
};
pub use progress::{Progress, Stage};
pub use quantity::Quantity;
pub use rule_violation::RuleViolation;
pub(crate) use rule_violation::{rfc3339, too_large, too_long};
pub use sale_terms::SaleTerms;
pub(crate) use sale_terms::ends_too_early;
pub use sort::Sort;
pub use stock_entry::{StockEntry, StockEntryKind};
#[cfg(any(feature = "postgres", feature = "sqlite", feature = "testing"))]
pub(crate) use stock_minute::StockMinute;
pub(crate) use text::{bounded, composed};
pub use time_range::TimeRange;
pub(crate) use time_range::id_at;
pub use trace_parent::TraceParent;
pub use validation_error::ValidationError;
