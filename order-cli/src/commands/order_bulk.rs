//! `order-cli order bulk`: many orders for one product, or from a CSV file.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use csv::StringRecord;
use indicatif::HumanCount;
use order_core::{
    Error, OrderService,
    domain::{OrderRequest, ProductId, Quantity, RequestedLine},
};
use serde::{Deserialize, Serialize};

use super::{
    csv_rows::{self, Columns, CsvArgs, CsvFile},
    order_args::{hold_time, idempotency_key, quantity},
    rejects::Rejects,
};
use crate::{
    output::{Column, Output},
    progress,
};

/// The number of orders in one call of the service.
const CHUNK_ORDERS: usize = 5_000;

const COLUMNS: &[Column] = &[("accepted", "/accepted"), ("rejected", "/rejected")];

const OF_THE_FILE: Columns = Columns {
    known: &[
        "product_id",
        "quantity",
        "reference",
        "customer",
        "hold_seconds",
        "idempotency_key",
    ],
    needed: &[&["product_id"], &["quantity"]],
    trim: true,
};

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
    /// reference, customer, hold_seconds and idempotency_key. Each row is an order; a wrong row is
    /// reported with its line number. A file whose rows have keys can be given again: no order is
    /// placed twice
    #[arg(long, conflicts_with = "count")]
    file: Option<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    accepted: u64,
    rejected: u64,
}

type Item = csv_rows::Row<OrderRequest>;

pub(crate) async fn run(
    bulk: Bulk,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let (summary, code) = match (bulk.product, bulk.count, &bulk.file) {
        (Some(product), Some(count), None) => {
            let order = OrderRequest::one(product, bulk.quantity);
            let orders = (1..=count).map(|line| Item {
                line,
                cells: StringRecord::new(),
                value: Ok(order.clone()),
            });
            let template = "{bar:40} {human_pos} of {human_len} orders, {eta} left";
            let progress = progress::bar(Some(count), template)?;
            let rejects = Rejects::without_file(progress.clone());
            place(service, orders, rejects, |all| progress.set_position(all)).await?
        }
        (_, _, Some(file)) => {
            let csv: CsvFile<Row> = csv_rows::read(file, &bulk.csv, &OF_THE_FILE)?;
            let rejects = Rejects::of(&csv, file, &bulk.csv)?;
            let request = |row: Row| OrderRequest::try_from(row).map_err(|error| error.to_string());
            let orders = csv.rows.map(|row| Item {
                line: row.line,
                cells: row.cells,
                value: row.value.and_then(request),
            });
            let tell = |all| {
                csv.progress
                    .set_message(format!("{} orders", HumanCount(all)))
            };
            place(service, orders, rejects, tell).await?
        }
        _ => anyhow::bail!("give --product and --count, or --file"),
    };
    output.row(COLUMNS, summary)?;
    Ok(code)
}

/// Places the orders chunk by chunk, reports refused ones, and tells how many there were so far.
async fn place(
    service: &OrderService,
    mut items: impl Iterator<Item = Item>,
    mut rejects: Rejects,
    tell: impl Fn(u64),
) -> anyhow::Result<(Summary, ExitCode)> {
    let mut summary = Summary::default();
    loop {
        let mut sources = Vec::new();
        let mut requests = Vec::new();
        let mut rows = 0;
        for item in items.by_ref().take(CHUNK_ORDERS) {
            rows += 1;
            match item.value {
                Ok(request) => {
                    sources.push((item.line, item.cells));
                    requests.push(request);
                }
                Err(reason) => rejects.reject(item.line, &item.cells, &reason)?,
            }
        }
        let results = service.accept_all(requests).await;
        for ((line, cells), result) in sources.iter().zip(results) {
            match result {
                Ok(_) => summary.accepted += 1,
                Err(error) => rejects.reject(*line, cells, &error.to_string())?,
            }
        }
        summary.rejected = rejects.count();
        if rows == 0 {
            return Ok((summary, rejects.finish()?));
        }
        tell(summary.accepted + summary.rejected);
    }
}

/// A row of the file. Its values are parsed later, so that an error can name the wrong one.
#[derive(Debug, Deserialize)]
struct Row {
    product_id: String,
    quantity: String,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    customer: Option<String>,
    #[serde(default)]
    hold_seconds: Option<String>,
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
        let held = row.hold_seconds.as_deref().map(hold_time).transpose()?;
        let request = Self::new(vec![line], row.reference)?
            .for_customer(row.customer)?
            .held_for(held);
        Ok(match row.idempotency_key {
            Some(key) => request.with_key(idempotency_key(&key)?),
            None => request,
        })
    }
}
