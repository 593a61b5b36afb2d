//! `order-cli product import`: products from a CSV file, created or updated by their sku.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use csv::StringRecord;
use indicatif::HumanCount;
use order_core::{
    Error, OrderService,
    domain::{Money, SaleTerms},
    service::{ImportOptions, ImportOutcome, ImportRow},
};
use serde::{Deserialize, Serialize};

use super::{
    csv_rows::{self, Columns, CsvArgs, CsvFile},
    order_args::idempotency_key,
    rejects::Rejects,
    spreadsheet::unguarded,
};
use crate::output::{Column, Output};

/// The rows that are imported together: they are looked up at once, and written in several transactions
/// at once.
const CHUNK_ROWS: usize = 16_000;

const COLUMNS: &[Column] = &[
    ("created", "/created"),
    ("updated", "/updated"),
    ("unchanged", "/unchanged"),
    ("rejected", "/rejected"),
    ("stock left", "/stock_left"),
    ("added before", "/added_before"),
];

const OF_THE_FILE: Columns = Columns {
    known: &[
        "id",
        "sku",
        "name",
        "price",
        "stock",
        "stock_delta",
        "version",
        "limit_per_customer",
        "on_sale_from",
        "on_sale_until",
        "guarded",
    ],
    needed: &[&["sku", "id"]],
    // Spaces belong to a name as they stand.
    trim: false,
};

/// Create and update products from a CSV file
///
/// The first line names the columns: sku, name, price, stock, stock_delta, version, id,
/// limit_per_customer, on_sale_from and on_sale_until, in any order and any case. A row whose sku
/// exists updates that product, and an empty cell leaves its field as it is; any other row creates a
/// product. A product without a sku is named by its id. Of rows for one product, the last one counts.
///
/// The stock of a product that is there stays as it is, since it may have been sold meanwhile:
/// stock_delta adds pieces to it, and --set-stock sets it.
///
/// An import that was interrupted is started again as it was: what is done is not done twice.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// CSV file, or - for standard input. A wrong row is reported with its line number, and the
    /// others are still imported
    file: PathBuf,
    /// Set the stock of products to that of their rows. A row is rejected when its product changed
    /// since the version that the row has: something was sold
    #[arg(long)]
    set_stock: bool,
    /// Check all rows and say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Name of this import: the pieces of its stock_delta are added once, however often it is started.
    /// The content of the file is its name unless given
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    #[command(flatten)]
    csv: CsvArgs,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    created: u64,
    updated: u64,
    unchanged: u64,
    rejected: u64,
    /// Products whose stock is another one than in the file, and was left as it is.
    stock_left: u64,
    /// Rows whose pieces an earlier run of this import added.
    added_before: u64,
}

/// A row of the file. Its values are parsed later, so that an error can name the wrong one.
#[derive(Debug, Deserialize)]
struct ProductRow {
    #[serde(default)]
    id: String,
    #[serde(default)]
    sku: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    price: String,
    #[serde(default)]
    stock: String,
    #[serde(default)]
    stock_delta: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    limit_per_customer: String,
    #[serde(default)]
    on_sale_from: String,
    #[serde(default)]
    on_sale_until: String,
    /// The columns whose cells are guarded against spreadsheets.
    #[serde(default)]
    guarded: String,
}

pub(crate) async fn run(
    import: Import,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let mut csv: CsvFile<ProductRow> = csv_rows::read(&import.file, &import.csv, &OF_THE_FILE)?;
    ensure!(
        !import.set_stock || csv.has("version"),
        "--set-stock needs the column version, as product export writes it: without it, what is \
         sold meanwhile would be sold again"
    );
    let key = if csv.has("stock_delta") && !import.dry_run {
        Some(import.key()?)
    } else {
        None
    };
    let options = ImportOptions {
        set_stock: import.set_stock,
        dry_run: import.dry_run,
    };
    let mut rejects = Rejects::of(&csv, &import.file, &import.csv)?;
    let mut summary = Summary::default();
    let mut done = 0;
    let mut next = Chunk::read(&mut csv, key.as_deref());
    while !next.lines.is_empty() {
        let chunk = next;
        let imported = service.import_products(&chunk.good, options);
        // The database works on one chunk while the next one is read.
        let ahead = async { Chunk::read(&mut csv, key.as_deref()) };
        let outcomes;
        (outcomes, next) = tokio::join!(imported, ahead);
        let mut outcomes = outcomes.with_context(|| chunk.stopped())?.into_iter();
        done += chunk.lines.len() as u64;
        for line in &chunk.lines {
            let outcome = match &line.wrong {
                Some(reason) => Err(reason.clone()),
                None => match outcomes.next() {
                    Some(outcome) => outcome.map_err(|error| explained(&error)),
                    None => Err("has no outcome".to_owned()),
                },
            };
            match outcome {
                Ok(imported) => {
                    summary.count(imported.outcome);
                    summary.stock_left += u64::from(imported.is_stock_left);
                }
                Err(reason) => rejects.reject(line.number, &line.cells, &reason)?,
            }
        }
        csv.progress
            .set_message(format!("{} products", HumanCount(done)));
    }
    csv.progress.finish_and_clear();
    summary.rejected = rejects.count();
    let code = rejects.finish()?;
    summary.explain(&import);
    output.row(COLUMNS, summary)?;
    Ok(code)
}

/// Lines of the file that are imported together.
struct Chunk {
    lines: Vec<Line>,
    /// What the lines say that are not wrong, in their order.
    good: Vec<ImportRow>,
}

struct Line {
    number: u64,
    cells: StringRecord,
    /// The reason why it cannot be read.
    wrong: Option<String>,
}

impl Chunk {
    /// Reads the next lines; there are none at the end. `key` begins the keys of their pieces.
    fn read(csv: &mut CsvFile<ProductRow>, key: Option<&str>) -> Self {
        let (mut lines, mut good) = (Vec::new(), Vec::new());
        for row in csv.rows.by_ref().take(CHUNK_ROWS) {
            let read = row.value.and_then(|value| {
                let read = value.read(row.line, key);
                read.map_err(|error| error.to_string())
            });
            let wrong = read.map(|row| good.push(row)).err();
            lines.push(Line {
                number: row.line,
                cells: row.cells,
                wrong,
            });
        }
        Self { lines, good }
    }

    fn stopped(&self) -> String {
        let last = self.lines.last().map_or(0, |line| line.number);
        format!("stopped before line {last}; the same command goes on where it stopped")
    }
}

/// The reason of a rejection, for somebody who has only a file.
fn explained(error: &Error) -> String {
    match error {
        Error::VersionMismatch { expected, actual } => format!(
            "the stock is not set: the product is at version {actual}, and the row at {expected}; \
             export it again"
        ),
        error => error.to_string(),
    }
}

impl Import {
    /// The beginning of the keys by which pieces are added once.
    fn key(&self) -> anyhow::Result<String> {
        if let Some(key) = &self.key {
            return Ok(format!("import:{key}"));
        }
        ensure!(
            self.file != Path::new("-"),
            "give a name to this import with --key: what comes from standard input cannot be \
             recognized when it is added again"
        );
        let hash = csv_rows::hash(&self.file)?;
        Ok(format!("import:{hash}"))
    }
}

impl Summary {
    const fn count(&mut self, outcome: ImportOutcome) {
        match outcome {
            ImportOutcome::Created => self.created += 1,
            ImportOutcome::Updated => self.updated += 1,
            ImportOutcome::Unchanged => self.unchanged += 1,
            ImportOutcome::AddedBefore => {
                self.unchanged += 1;
                self.added_before += 1;
            }
        }
    }

    /// Says what somebody may not expect.
    fn explain(&self, import: &Import) {
        if import.dry_run {
            tell!("dry run: nothing was changed");
        }
        if self.stock_left > 0 {
            tell!(
                "the stock of {} products is another one than in the file and was left as it is; \
                 --set-stock sets it, and a column stock_delta adds to it",
                self.stock_left
            );
        }
        if self.added_before > 0 {
            tell!(
                "the stock of {} rows was added before; to add it once more, give the import \
                 another name with --key",
                self.added_before
            );
        }
    }
}

impl ProductRow {
    fn read(&self, line: u64, key: Option<&str>) -> Result<ImportRow, Error> {
        let text = |column, cell: &String| {
            let mut cell = cell.clone();
            unguarded(&self.guarded, column, &mut cell);
            Some(cell).filter(|cell| !cell.is_empty())
        };
        let stock_delta = number("stock_delta", &self.stock_delta)?.filter(|delta| *delta != 0);
        let key = match (stock_delta, key) {
            (Some(_), Some(key)) => Some(idempotency_key(&format!("{key}:{line}"))?),
            _ => None,
        };
        Ok(ImportRow {
            id: given(&self.id).map(str::parse).transpose()?,
            sku: text("sku", &self.sku),
            name: text("name", &self.name),
            price: given(&self.price).map(Money::price).transpose()?,
            stock: number("stock", &self.stock)?,
            stock_delta,
            key,
            version: number("version", &self.version)?,
            terms: SaleTerms {
                limit_per_customer: number("limit_per_customer", &self.limit_per_customer)?,
                on_sale_from: time("on_sale_from", &self.on_sale_from)?,
                on_sale_until: time("on_sale_until", &self.on_sale_until)?,
            },
        })
    }
}

fn number(column: &'static str, cell: &str) -> Result<Option<i64>, Error> {
    let wrong = |_| Error::invalid(column, "must be a whole number");
    given(cell).map(str::parse).transpose().map_err(wrong)
}

fn time(column: &'static str, cell: &str) -> Result<Option<DateTime<Utc>>, Error> {
    let wrong = |_| Error::invalid(column, "must be a time such as 2026-11-27T08:00:00Z");
    given(cell).map(str::parse).transpose().map_err(wrong)
}

/// A value, unless its cell is empty.
fn given(cell: &str) -> Option<&str> {
    Some(cell.trim()).filter(|text| !text.is_empty())
}
