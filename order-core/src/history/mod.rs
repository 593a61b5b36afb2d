//! History that ends: orders that are at their end move to files, and what is personal is emptied.
//!
//! An [archive](ArchiveOptions) consists of files of orders as JSON, a line for each, and a
//! [`Manifest`] beside each. No order is deleted before the file that has it is synced, read back and
//! compared with what the database counted. An order leaves in the transaction that adds what it took
//! and gave back to sums that stay, so that the books balance at every moment, and whoever is killed
//! anywhere is followed by another run that goes on where the books say.
//!
//! | step | kept by |
//! |---|---|
//! | a file is begun | a row with the ids that it reaches over; one at a time is open |
//! | it is written, synced, renamed into place, read back and compared | nothing: it is done again |
//! | it is sealed | its SHA-256 in the row; from here on, the database lets its orders go |
//! | old idempotency keys of its orders, and then its orders are deleted | short transactions; what is gone is counted in the row |
//! | it is finished | the row is open no longer |
//!
//! An order that changes between the reading of the file and its turn stays, and the manifest tells so.

mod archive;
mod directory;
mod file;
mod manifest;
mod options;
mod record;
mod store;

pub use archive::archive;
pub use file::ArchiveFile;
pub use manifest::{Manifest, ProductSums};
pub use options::{ArchiveOptions, Archived};
pub use record::{ArchivedOrder, ArchivedReturn, StoredOrder};
pub use store::{Ended, Erased, HistoryStore};
