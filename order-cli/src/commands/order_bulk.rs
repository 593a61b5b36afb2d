//! `order-cli order bulk`: many orders for one product, or from a CSV file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use indicatif::ProgressBar;
use order_core::{
    Error, OrderService,
    domain::{OrderRequest, ProductId, Quantity, RequestedLine},
};
use serde::{Deserialize, Serialize};

use super::{
    csv_rows,
    order_args::{idempotency_key, quantity},
};
use crate::{
    output::{Column, Output, visible},
    progress,
};

/// The number of orders in one call of the service.
const CHUNK_ORDERS: usize = 5_000;

const COLUMNS: &[Column] = &[("accepted", "/accepted"), ("rejected", "/rejected")];

/// Place many orders in the background
#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// Product of every order
    #[arg(
        long,
        required_unless_present = "file",
        conflicts_with = "file",
        requires = "count"
    )]
    product: Option<ProductId>,
    /// Number of orders
    #[arg(long)]
    count: Option<u64>,
    /// Pieces in each order
    #[arg(long, default_value = "1", value_parser = quantity)]
    quantity: Quantity,
    /// CSV file, or - for standard input, with the columns product_id, quantity and optionally
    /// reference and idempotency_key. Each row is an order; a wrong row is reported with its line
    /// number. A file whose rows have keys can be given again: no order is placed twice
    #[arg(long, conflicts_with = "count")]
    file: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    accepted: u64,
    rejected: u64,
}

type Item = csv_rows::Row<OrderRequest>;
type Items = csv_rows::Rows<OrderRequest>;

pub(crate) async fn run(
    bulk: Bulk,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let (items, progress): (Items, ProgressBar) = match (bulk.product, bulk.count, &bulk.file) {
        (Some(product), Some(count), None) => {
            let order = OrderRequest::one(product, bulk.quantity);
            let orders = (1..=count).map(move |n| (n, Ok(order.clone())));
            let template = "{bar:40} {human_pos} orders, {per_sec}, {eta} left";
            (Box::new(orders), progress::bar(Some(count), template)?)
        }
        (_, _, Some(file)) => orders(file)?,
        _ => anyhow::bail!("give --product and --count, or --file"),
    };
    let summary = place(service, items, &progress, bulk.file.is_none()).await?;
    let code = csv_rows::exit_code(summary.rejected);
    output.row(COLUMNS, summary)?;
    Ok(code)
}

/// Places the orders chunk by chunk, and reports refused ones on standard error. The bar moves with
/// the file that is read; `counted` orders move it here.
async fn place(
    service: &OrderService,
    mut items: Items,
    progress: &ProgressBar,
    counted: bool,
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    loop {
        let chunk: Vec<Item> = items.by_ref().take(CHUNK_ORDERS).collect();
        if chunk.is_empty() {
            progress.finish_and_clear();
            return Ok(summary);
        }
        let total = chunk.len() as u64;
        let mut lines = Vec::with_capacity(chunk.len());
        let mut requests = Vec::with_capacity(chunk.len());
        for (line, item) in chunk {
            match item {
                Ok(request) => {
                    lines.push(line);
                    requests.push(request);
                }
                Err(reason) => reject(progress, &mut summary, line, &reason),
            }
        }
        for (line, result) in lines.into_iter().zip(service.accept_all(requests).await) {
            match result {
                Ok(_) => summary.accepted += 1,
                Err(error) => reject(progress, &mut summary, line, &error.to_string()),
            }
        }
        if counted {
            progress.inc(total);
        }
    }
}

fn reject(progress: &ProgressBar, summary: &mut Summary, line: u64, reason: &str) {
    summary.rejected += 1;
    progress.suspend(|| eprintln!("line {line}: {}", visible(reason)));
}

/// A row of the file. Its values are parsed later, so that an error can name the wrong one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    product_id: String,
    quantity: String,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    idempotency_key: Option<String>,
}

impl TryFrom<Row> for OrderRequest {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let line = RequestedLine {
            product_id: row.product_id.parse()?,
            quantity: quantity(&row.quantity)?,
        };
        let request = Self::new(vec![line], row.reference)?;
        Ok(match row.idempotency_key {
            Some(key) => request.with_key(idempotency_key(&key)?),
            None => request,
        })
    }
}

fn orders(file: &Path) -> anyhow::Result<(Items, ProgressBar)> {
    let needed = [&["product_id"][..], &["quantity"]];
    let (rows, progress) = csv_rows::read::<Row>(file, csv::Trim::All, &needed)?;
    let request = |row: Row| OrderRequest::try_from(row).map_err(|error| error.to_string());
    let orders = rows.map(move |(line, row)| (line, row.and_then(request)));
    Ok((Box::new(orders), progress))
}
