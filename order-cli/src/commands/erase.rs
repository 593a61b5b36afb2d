//! `order-cli erase`: empties what is personal of a customer.

use std::process::ExitCode;

use clap::Args;
use order_core::OrderService;

use super::confirm::confirm;
use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("orders", "/orders"),
    ("archived products", "/archived_products"),
    ("files", "/files"),
];

/// Empty what orders tell of a customer
///
/// Orders of the customer name nobody any more, and have no reference; errors of their tasks and the
/// fingerprints of their idempotency keys are emptied, too. What the customer has then counts towards no
/// limit. Orders that are not at their end, or that have a task, refuse it: complete or cancel them first.
/// Archived files are not touched, and the answer says how many there are. On Postgres it takes the role
/// that owns the tables.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The customer, by the client's own id
    #[arg(long)]
    customer: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(
    args: Erase,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let question = format!("empty what orders tell of customer {}?", args.customer);
    confirm(&question, args.yes)?;
    let erased = service.erase_customer(&args.customer).await?;
    if erased.files > 0 {
        let files = erased.files;
        tell!("the files of the archive were not touched and may name the customer: {files}");
    }
    output.row(COLUMNS, erased)?;
    Ok(ExitCode::SUCCESS)
}
