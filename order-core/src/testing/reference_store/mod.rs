//! The reference store: a store in memory, as naive as it can be, to compare real ones with.
//!
//! It shares no code with them beyond the domain types: it sums, sorts and checks in its own,
//! slow words, so that a mistake in the shared decision does not hide in both.

mod audit;
mod history;
mod holds;
mod keys;
mod orders;
mod page;
mod products;
mod queue;
mod queue_entry;
mod returns;
mod state;
mod stats;
mod store;
mod tasks;

pub use store::ReferenceStore;
