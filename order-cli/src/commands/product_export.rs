//! `order-cli product export`: all products, page by page, so that a million of them need no
//! more memory than a hundred.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use order_core::{
    OrderService,
    domain::{InCurrency, Product},
    store::ProductQuery,
};

use super::pages;
use crate::output::{Column, Format, Output, cells, unless_closed};

/// The columns that import reads.
const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("sku", "/sku"),
    ("name", "/name"),
    ("price", "/price"),
    ("stock", "/stock"),
];

/// Write all products that are not archived, newest first, as CSV that import reads, or with `-o
/// json` as one object per line
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// File to write; standard output unless given. It appears when it is complete
    #[arg(long)]
    file: Option<PathBuf>,
}

pub(crate) async fn run(
    export: Export,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let as_json = output.asked() == Some(Format::Json);
    match &export.file {
        None => {
            let out = BufWriter::new(io::stdout());
            unless_closed(write(service, out, as_json).await)?;
        }
        Some(file) => to_file(service, file, as_json)
            .await
            .with_context(|| format!("cannot write {}", file.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to a file beside `file`, which it replaces when it is complete.
async fn to_file(service: &OrderService, file: &Path, as_json: bool) -> anyhow::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let out = BufWriter::new(File::create(&part)?);
    write(service, out, as_json).await?;
    fs::rename(part, file)?;
    Ok(())
}

async fn write(service: &OrderService, out: impl Write, as_json: bool) -> anyhow::Result<()> {
    let mut sink = if as_json {
        Sink::Json(out)
    } else {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(COLUMNS.iter().map(|(name, _)| *name))?;
        Sink::Csv(Box::new(csv))
    };
    let page = async |page| {
        let search = None;
        service
            .products(&ProductQuery {
                search,
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

/// The destination of products, in its format.
enum Sink<W: Write> {
    Json(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Sink<W> {
    fn write(&mut self, product: &Product) -> anyhow::Result<()> {
        let row = serde_json::to_value(InCurrency::from(product))?;
        match self {
            Self::Json(out) => writeln!(out, "{row}")?,
            Self::Csv(csv) => csv.write_record(cells(COLUMNS, &row))?,
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Json(mut out) => out.flush()?,
            Self::Csv(mut csv) => csv.flush()?,
        }
        Ok(())
    }
}
