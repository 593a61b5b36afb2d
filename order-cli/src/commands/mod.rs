//! One file per command.

pub(crate) mod archive;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod client;
pub(crate) mod completions;
mod confirm;
mod csv_rows;
pub(crate) mod erase;
pub(crate) mod health;
pub(crate) mod key;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod order;
mod order_args;
mod order_bulk;
mod order_details;
mod order_watch;
mod pages;
pub(crate) mod product;
mod product_export;
mod product_import;
pub(crate) mod queue;
mod rejects;
mod spreadsheet;
pub(crate) mod stats;
mod time_args;
pub(crate) mod verify;
pub(crate) mod worker;

use order_core::domain::InCurrency;

/// Each with its currency.
fn in_currency<T>(all: Vec<T>) -> Vec<InCurrency<T>> {
    all.into_iter().map(InCurrency::from).collect()
}
