//! The audit log: who changed what, when, and how it was before and after.
//!
//! An operator's or a client's change of a product, its stock, a key, a pause, a dead letter or a
//! task, and the cancelling of an order, enter it in the transaction that makes the change: neither
//! is there without the other. What is sold does not: orders are a log of their own. Entries are
//! never changed or deleted; the databases refuse it.
//!
//! The author of a change comes from its caller: whatever is called within [`by`] is done by that
//! [`Author`]. Outside of it nobody is known.

mod author;
mod entry;
mod store;

pub(crate) use author::author;
pub use author::{Author, by};
pub use entry::{Action, AuditChange, AuditEntry};
pub use store::{AuditQuery, AuditStore};
