//! `order-cli product export`: all products, page by page, so that a million of them need no
//! more memory than a hundred.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::Args;
use order_core::{
    OrderService,
    audit::{Action, AuditChange},
    domain::{InCurrency, Product},
    store::ProductQuery,
};
use serde_json::Value;

use super::{pages, spreadsheet};
use crate::output::{Column, Format, Output, cells, json_line, unless_closed};

/// The columns that import reads.
const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("sku", "/sku"),
    ("name", "/name"),
    ("price", "/price"),
    ("stock", "/stock"),
    ("version", "/version"),
    ("limit_per_customer", "/limit_per_customer"),
    ("on_sale_from", "/on_sale_from"),
    ("on_sale_until", "/on_sale_until"),
];

/// Write all products as CSV that import reads
///
/// They are those that are not archived, newest first. The columns are id, sku, name, price, stock,
/// version, limit_per_customer, on_sale_from and on_sale_until. With `-o json`, each product is an
/// object on a line.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// File to write; standard output unless given. It appears when it is complete
    #[arg(long)]
    file: Option<PathBuf>,
    /// Write cells so that no spreadsheet takes one for a formula: ' stands before those that begin
    /// with = + - @, a tab or the end of a line, and the column guarded names them, by which import
    /// reads the file exactly
    #[arg(long)]
    spreadsheet: bool,
}

pub(crate) async fn run(
    export: Export,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let as_json = output.asked() == Some(Format::Json);
    ensure!(
        !(as_json && export.spreadsheet),
        "--spreadsheet is for CSV, not for JSON"
    );
    let entry = AuditChange::of(Action::ProductExport, "products");
    service.record(entry).await?;
    match &export.file {
        None => {
            let out = BufWriter::new(io::stdout());
            let cells = |row: &Value| output.csv_cells(COLUMNS, row);
            let sink = sink(out, &export, as_json, &cells)?;
            unless_closed(write(service, sink).await)?;
        }
        Some(file) => to_file(service, &export, file, as_json)
            .await
            .with_context(|| format!("cannot write {}", file.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to a file beside `file`, which it replaces when it is complete.
async fn to_file(
    service: &OrderService,
    export: &Export,
    file: &Path,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let out = BufWriter::new(File::create(&part)?);
    let cells = |row: &Value| cells(COLUMNS, row);
    write(service, sink(out, export, as_json, &cells)?).await?;
    fs::rename(part, file)?;
    Ok(())
}

async fn write<W: Write>(service: &OrderService, mut sink: Sink<'_, W>) -> anyhow::Result<()> {
    let page = async |page| {
        service
            .products(&ProductQuery {
                page,
                ..ProductQuery::default()
            })
            .await
    };
    pages::each_page(page, |products| {
        products.iter().try_for_each(|product| sink.write(product))
    })
    .await?;
    sink.finish()
}

/// The cells of a row.
type Cells<'a> = &'a dyn Fn(&Value) -> Vec<String>;

/// The destination of products, in its format.
enum Sink<'a, W: Write> {
    Json(W),
    Csv {
        csv: Box<csv::Writer<W>>,
        cells: Cells<'a>,
        spreadsheet: bool,
    },
}

fn sink<'a, W: Write>(
    out: W,
    export: &Export,
    as_json: bool,
    cells: Cells<'a>,
) -> anyhow::Result<Sink<'a, W>> {
    if as_json {
        return Ok(Sink::Json(out));
    }
    let spreadsheet = export.spreadsheet;
    let mut csv = Box::new(csv::Writer::from_writer(out));
    let names = COLUMNS.iter().map(|(name, _)| *name);
    csv.write_record(names.chain(spreadsheet.then_some(spreadsheet::COLUMN)))?;
    Ok(Sink::Csv {
        csv,
        cells,
        spreadsheet,
    })
}

impl<W: Write> Sink<'_, W> {
    fn write(&mut self, product: &Product) -> anyhow::Result<()> {
        let row = serde_json::to_value(InCurrency::from(product))?;
        match self {
            Self::Json(out) => json_line(out, &row)?,
            Self::Csv {
                csv,
                cells,
                spreadsheet,
            } => {
                let mut cells = cells(&row);
                if *spreadsheet {
                    let names = COLUMNS.iter().map(|(name, _)| *name);
                    let guarded = spreadsheet::guard(names, &mut cells);
                    cells.push(guarded);
                }
                csv.write_record(cells)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Json(mut out) => out.flush()?,
            Self::Csv { mut csv, .. } => csv.flush()?,
        }
        Ok(())
    }
}
