//! `order-cli archive`: orders that are at their end move to files, while others are sold.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use order_core::{
    OrderService,
    history::{ArchiveOptions, Manifest},
};
use serde_json::{Value, json};

use super::confirm::confirm;
use crate::{
    output::{Column, Output},
    progress,
};

const FILES: &[Column] = &[
    ("file", "/file"),
    ("orders", "/orders"),
    ("lines", "/lines"),
    ("first_id", "/first_id"),
    ("last_id", "/last_id"),
    ("left_out", "/left_out"),
];

const COUNTED: &[Column] = &[("orders", "/orders"), ("lines", "/lines")];

/// Move orders that are at their end to files, and keep what they amount to
///
/// An order is at its end when it is completed, failed, cancelled or expired, and has no task, not even a
/// dead one. Each file has orders as JSON, a line for each, and a manifest beside it with counts, sums
/// and the SHA-256. Orders are deleted after their file is synced, read back and compared, in short
/// transactions, while others are sold; stock, counters and limits per customer go on counting them.
/// What was interrupted goes on with the next run, for the same directory. On Postgres it takes the
/// role that owns the tables.
#[derive(Debug, Args)]
pub(crate) struct Archive {
    /// Archive orders placed before that day (UTC) or time, such as 2027-01-31 or
    /// 2027-01-31T08:00:00Z; at least 30 days ago, the retention of idempotency keys
    #[arg(long, value_name = "DATE", value_parser = date)]
    before: DateTime<Utc>,
    /// Directory of the files: the same one each time
    #[arg(long, value_name = "DIR", default_value = "archive")]
    dir: PathBuf,
    /// The most orders of a file, which are in memory while it is written
    #[arg(long, value_name = "ORDERS", default_value_t = ArchiveOptions::ORDERS_PER_FILE)]
    orders_per_file: usize,
    /// Only count what would be archived
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// A time, or the beginning of a day.
fn date(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(NaiveTime::MIN).and_utc());
    }
    let time: Result<DateTime<Utc>, _> = text.parse();
    time.map_err(|_| "is neither a day (2027-01-31) nor a time (2027-01-31T08:00:00Z)".to_owned())
}

pub(crate) async fn run(
    args: Archive,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let before = args
        .before
        .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    if !args.dry_run {
        let dir = args.dir.display();
        let question = format!("move orders from before {before} to files in {dir}?");
        confirm(&question, args.yes)?;
    }
    let bar = progress::bar(None, "")?;
    let told = bar.clone();
    let archived = service
        .archive(ArchiveOptions {
            orders_per_file: args.orders_per_file,
            is_dry_run: args.dry_run,
            progress: Some(Arc::new(move |orders| {
                told.set_message(format!("{orders} orders"));
                told.tick();
            })),
            ..ArchiveOptions::new(args.before, args.dir)
        })
        .await;
    bar.finish_and_clear();
    let archived = archived?;
    if args.dry_run {
        let counted = json!({"orders": archived.orders, "lines": archived.lines});
        output.row(COUNTED, counted)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (orders, files) = (archived.orders, archived.files.len());
    tell!("archived {orders} orders from before {before} to {files} files");
    let files: Result<Vec<Value>, _> = archived.files.iter().map(row).collect();
    output.rows(FILES, &files?)?;
    Ok(ExitCode::SUCCESS)
}

/// A manifest without the sums of each product, which may be very many.
fn row(file: &Manifest) -> serde_json::Result<Value> {
    let mut row = serde_json::to_value(file)?;
    if let Some(row) = row.as_object_mut() {
        row.shift_remove("products");
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight() {
        let time = |text| date(text).unwrap().to_rfc3339();
        assert_eq!(time("2026-02-28"), "2026-02-28T00:00:00+00:00");
        assert_eq!(
            time("2026-02-28T01:00:00+01:00"),
            "2026-02-28T00:00:00+00:00"
        );
        for wrong in ["", "2026-02-30", "yesterday", "2026-02", "1767225600"] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
    }
}
