//! `order-cli order bulk`: many orders for one product, or from a CSV file.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use order_core::{
    Error, OrderService,
    domain::{OrderRequest, ProductId, Quantity, RequestedLine},
};
use serde::{Deserialize, Serialize};

use super::order::{key_of, quantity_of};
use crate::{
    output::{Column, Output},
    progress,
};

/// How many orders are handed over at once.
const CHUNK_ORDERS: usize = 5_000;

const COLUMNS: &[Column] = &[("accepted", "/accepted"), ("rejected", "/rejected")];

/// Places many orders, in the background.
#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// The product that every order is for
    #[arg(
        long,
        required_unless_present = "file",
        conflicts_with = "file",
        requires = "count"
    )]
    product: Option<ProductId>,
    /// How many orders
    #[arg(long)]
    count: Option<u64>,
    /// Pieces in each order
    #[arg(long, default_value = "1", value_parser = quantity_of)]
    quantity: Quantity,
    /// A CSV file with the columns product_id, quantity and, if you like, reference and
    /// idempotency_key; - is standard input. Each row is an order; a bad one is reported with
    /// its line number. A file whose rows have keys can be given again without harm
    #[arg(long, conflicts_with = "count")]
    file: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    accepted: u64,
    rejected: u64,
}

/// An order, or what is wrong with it, and the line that it comes from.
type Item = (u64, Result<OrderRequest, String>);

pub(crate) async fn run(
    bulk: Bulk,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let (items, length): (Box<dyn Iterator<Item = Item>>, Option<u64>) =
        match (bulk.product, bulk.count, &bulk.file) {
            (Some(product), Some(count), None) => {
                let order = OrderRequest::one(product, bulk.quantity);
                (
                    Box::new((1..=count).map(move |n| (n, Ok(order.clone())))),
                    Some(count),
                )
            }
            (_, _, Some(file)) => (rows(file)?, None),
            _ => anyhow::bail!("give --product and --count, or --file"),
        };
    let summary = place(service, items, length).await?;
    let code = if summary.rejected == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    output.row(COLUMNS, summary)?;
    Ok(code)
}

/// Places the orders, chunk by chunk; what is refused goes to standard error.
async fn place(
    service: &OrderService,
    mut items: Box<dyn Iterator<Item = Item>>,
    length: Option<u64>,
) -> anyhow::Result<Summary> {
    let template = "{bar:40} {human_pos} orders, {per_sec}, {eta} left";
    let progress = progress::bar(length, template)?;
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
                Err(reason) => reject(&progress, &mut summary, line, &reason),
            }
        }
        for (line, result) in lines.into_iter().zip(service.accept_all(requests).await) {
            match result {
                Ok(_) => summary.accepted += 1,
                Err(error) => reject(&progress, &mut summary, line, &error.to_string()),
            }
        }
        progress.inc(total);
    }
}

fn reject(progress: &ProgressBar, summary: &mut Summary, line: u64, reason: &str) {
    summary.rejected += 1;
    progress.suspend(|| eprintln!("line {line}: {reason}"));
}

/// A row of the file, its values still unread, so that a bad one can be named.
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
            quantity: quantity_of(&row.quantity)?,
        };
        let request = Self::new(vec![line], row.reference)?;
        Ok(match row.idempotency_key {
            Some(key) => request.with_key(key_of(&key)?),
            None => request,
        })
    }
}

fn rows(file: &Path) -> anyhow::Result<Box<dyn Iterator<Item = Item>>> {
    let input: Box<dyn io::Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).with_context(|| format!("cannot open {}", file.display()))?)
    };
    let mut csv = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(input);
    let headers = csv.headers()?.clone();
    for needed in ["product_id", "quantity"] {
        anyhow::ensure!(
            headers.iter().any(|name| name == needed),
            "{}: column {needed} is missing",
            file.display()
        );
    }
    Ok(Box::new(csv.into_records().enumerate().map(
        move |(at, record)| {
            // The first line has the names; a record knows better where it stands.
            let counted = at as u64 + 2;
            match record {
                Err(error) => {
                    let line = error.position().map_or(counted, csv::Position::line);
                    (line, Err(error.to_string()))
                }
                Ok(record) => {
                    let line = record.position().map_or(counted, csv::Position::line);
                    let row = record.deserialize::<Row>(Some(&headers));
                    let request = row
                        .map_err(|error| error.to_string())
                        .and_then(|row| OrderRequest::try_from(row).map_err(|e| e.to_string()));
                    (line, request)
                }
            }
        },
    )))
}
