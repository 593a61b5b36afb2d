//! `order-cli verify`: proves that the books balance, also while orders come in.

use std::{process::ExitCode, sync::Arc};

use chrono::{DateTime, Utc};
use clap::Args;
use order_core::{
    OrderService,
    verify::{Check, Discrepancy, Verification, VerifyOptions},
};

use crate::{
    output::{Column, Output},
    progress,
};

const COLUMNS: &[Column] = &[
    ("check", "/check"),
    ("id", "/id"),
    ("sku", "/sku"),
    ("name", "/name"),
    ("expected", "/expected"),
    ("found", "/found"),
];

const COUNTED: &[Column] = &[
    ("products", "/products"),
    ("adjustments", "/adjustments"),
    ("orders", "/orders"),
    ("lines", "/lines"),
    ("tasks", "/tasks"),
    ("idempotency keys", "/idempotency_keys"),
];

/// The part of the orders that is verified: all of them, unless it is said otherwise.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// Verify only orders placed at that time or later (RFC 3339), and no sums over all orders:
    /// neither stock nor counters
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// Verify only so many of 100 orders, from 1 to 99, and no sums over all orders
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=99))]
    sample: Option<u8>,
}

pub(crate) async fn run(
    args: VerifyArgs,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let bar = progress::bar(Some(0), "{bar:40} {human_pos} of about {human_len} orders")?;
    let told = bar.clone();
    let options = VerifyOptions {
        since: args.since,
        sample: args.sample,
        progress: Some(Arc::new(move |done, of| {
            told.set_length(of);
            told.set_position(done);
        })),
    };
    let verification = service.verify_with(&options).await;
    bar.finish_and_clear();
    let verification = verification?;
    if verification.found == 0 {
        let sums = if options.is_whole() {
            ""
        } else {
            " (stock and counters were not compared)"
        };
        let archived = match verification.verified.archived_orders {
            0 => String::new(),
            orders => format!(", with {orders} archived orders"),
        };
        tell!("the books balance{archived}{sums}");
        output.row(COUNTED, verification.verified)?;
        return Ok(ExitCode::SUCCESS);
    }
    explain(&verification);
    output.rows(COLUMNS, &verification.discrepancies)?;
    Ok(ExitCode::FAILURE)
}

/// Says how many there are of each kind, and what to do about them.
fn explain(verification: &Verification) {
    let Verification {
        found,
        discrepancies,
        ..
    } = verification;
    tell!("the books do not balance: {found} discrepancies");
    let mut checks: Vec<Check> = Vec::new();
    for Discrepancy { check, .. } in discrepancies {
        if !checks.contains(check) {
            checks.push(*check);
            tell!("{check}: {}", check.advice());
        }
    }
    if *found > discrepancies.len() as u64 {
        tell!(
            "the first {} of each kind are listed",
            Verification::MOST_LISTED
        );
    }
}
