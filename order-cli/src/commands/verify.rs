//! `order-cli verify`: proves that the books balance, also while orders come in.

use std::process::ExitCode;

use order_core::OrderService;

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[
    ("product_id", "/product_id"),
    ("stock", "/stock"),
    ("adjusted", "/adjusted"),
    ("held", "/held"),
];

pub(crate) async fn run(service: &OrderService, output: &Output) -> anyhow::Result<ExitCode> {
    let discrepancies = service.verify().await?;
    if discrepancies.is_empty() {
        eprintln!("the books balance");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "the books do not balance: the stock of {} products is not adjusted - held",
        discrepancies.len()
    );
    output.rows(COLUMNS, &discrepancies)?;
    Ok(ExitCode::FAILURE)
}
