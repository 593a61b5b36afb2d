//! `order-cli product import`: products from a CSV file, created or updated by their sku.

use std::{collections::HashSet, future::Future, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use csv::Trim;
use futures_util::{StreamExt, stream};
use order_core::{
    Error, OrderService,
    domain::{Money, Product, ProductChange, ProductRequest},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    csv_rows::{self, Row, Rows},
    spreadsheet::unguarded,
};
use crate::output::{Column, Output, visible};

/// The number of rows under way at once: each waits for a commit of its own.
const CONCURRENT_ROWS: usize = 8;
/// After this time, a row waits for a locked product rather than for a commit, and gives its slot to
/// another.
const USUAL_TIME: Duration = Duration::from_millis(500);
/// The number of rows that are read ahead.
const CHUNK_ROWS: usize = 1_000;

const COLUMNS: &[Column] = &[
    ("created", "/created"),
    ("updated", "/updated"),
    ("unchanged", "/unchanged"),
    ("rejected", "/rejected"),
];

/// Create and update products from a CSV file with the columns sku, name, price and stock. A row
/// whose sku exists updates that product, and an empty cell leaves its field as it is; any other
/// row creates a product. Of rows with the same sku, the last one counts. A product without a sku
/// can be named by its id, in the column id. What `product export --spreadsheet` wrote is read as it
/// was
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// CSV file, or - for standard input. A wrong row is reported with its line number, and the
    /// others are still imported
    file: PathBuf,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    created: u64,
    updated: u64,
    unchanged: u64,
    rejected: u64,
}

/// The outcome of a row.
enum Outcome {
    Created,
    Updated,
    Unchanged,
}

/// A row of the file. Its values are parsed later, so that an error can name the wrong one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// The columns whose cells are guarded against spreadsheets.
    #[serde(default)]
    guarded: String,
}

pub(crate) async fn run(
    import: Import,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    // Spaces belong to a name as they stand.
    let (mut rows, progress) =
        csv_rows::read::<ProductRow>(&import.file, Trim::Headers, &[&["sku", "id"]])?;
    rows = Box::new(rows.map(|(line, row)| (line, row.map(ProductRow::unguarded))));
    let mut summary = Summary::default();
    let mut next = None;
    let slots = &Semaphore::new(CONCURRENT_ROWS);
    loop {
        let chunk = chunk(&mut rows, &mut next);
        if chunk.is_empty() {
            break;
        }
        // In whatever order: no two of them are for one product.
        let mut done = stream::iter(chunk)
            .map(|(line, row)| async move { (line, with_slot(slots, apply(service, row)).await) })
            .buffer_unordered(CHUNK_ROWS);
        while let Some((line, result)) = done.next().await {
            match result {
                Ok(Outcome::Created) => summary.created += 1,
                Ok(Outcome::Updated) => summary.updated += 1,
                Ok(Outcome::Unchanged) => summary.unchanged += 1,
                Err(reason) => {
                    summary.rejected += 1;
                    progress.suspend(|| eprintln!("line {line}: {}", visible(&reason)));
                }
            }
        }
    }
    progress.finish_and_clear();
    let code = csv_rows::exit_code(summary.rejected);
    output.row(COLUMNS, summary)?;
    Ok(code)
}

/// The next rows, no two of them for one product: what comes later in the file is done later.
/// The row that ends a chunk begins the `next`.
fn chunk(rows: &mut Rows<ProductRow>, next: &mut Option<Row<ProductRow>>) -> Vec<Row<ProductRow>> {
    let mut named = HashSet::new();
    let mut chunk = Vec::new();
    for item in next.take().into_iter().chain(rows) {
        let name = item.1.as_ref().map(|row| row.key().to_owned());
        if name.is_ok_and(|name| !name.is_empty() && !named.insert(name)) {
            *next = Some(item);
            break;
        }
        chunk.push(item);
        if chunk.len() == CHUNK_ROWS {
            break;
        }
    }
    chunk
}

/// Waits for a slot among the rows that are under way, and gives it back when this row takes long.
async fn with_slot<T>(slots: &Semaphore, row: impl Future<Output = T>) -> T {
    let slot = slots.acquire().await;
    tokio::pin!(row);
    match timeout(USUAL_TIME, &mut row).await {
        Ok(done) => done,
        Err(_) => {
            drop(slot);
            row.await
        }
    }
}

/// Creates or updates the product of a row.
async fn apply(service: &OrderService, row: Result<ProductRow, String>) -> Result<Outcome, String> {
    let row = row?;
    let done = match row.find(service).await {
        Ok(Some(product)) => row.update(service, &product).await,
        Ok(None) => row.create(service).await,
        Err(error) => Err(error),
    };
    done.map_err(|error| error.to_string())
}

impl ProductRow {
    /// The row as it was before it was guarded against spreadsheets.
    fn unguarded(mut self) -> Self {
        for (column, cell) in [("sku", &mut self.sku), ("name", &mut self.name)] {
            unguarded(&self.guarded, column, cell);
        }
        self
    }

    /// The sku or else the id of the product.
    fn key(&self) -> &str {
        if self.sku.is_empty() {
            self.id.trim()
        } else {
            &self.sku
        }
    }

    async fn find(&self, service: &OrderService) -> Result<Option<Product>, Error> {
        if !self.sku.is_empty() {
            return service.product_with_sku(&self.sku).await;
        }
        if self.key().is_empty() {
            return Err(Error::invalid("sku", "is needed"));
        }
        let id = self.key().parse()?;
        let product = service.product(id).await?;
        Ok(Some(product.ok_or(Error::ProductNotFound(id))?))
    }

    async fn create(&self, service: &OrderService) -> Result<Outcome, Error> {
        let needed = |field: &'static str| Error::invalid(field, "is needed for a new product");
        let price = self.price()?.ok_or_else(|| needed("price"))?;
        let stock = self.stock()?.ok_or_else(|| needed("stock"))?;
        let sku = Some(self.sku.clone());
        let request = ProductRequest::new(self.name.clone(), price, stock, sku)?;
        service.create_product(request).await?;
        Ok(Outcome::Created)
    }

    /// Changes the fields that differ from the row, and no others.
    async fn update(&self, service: &OrderService, product: &Product) -> Result<Outcome, Error> {
        let mut change = ProductChange::default();
        if !self.name.is_empty() && self.name != product.name {
            change = change.name(self.name.clone())?;
        }
        if let Some(price) = self.price()?.filter(|price| *price != product.price) {
            change = change.price(price)?;
        }
        if let Some(stock) = self.stock()?.filter(|stock| *stock != product.stock) {
            change = change.stock(stock)?;
        }
        if change.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        let updated = service.update_product(product.id, &change).await?;
        updated.ok_or(Error::ProductNotFound(product.id))?;
        Ok(Outcome::Updated)
    }

    fn price(&self) -> Result<Option<Money>, Error> {
        Ok(given(&self.price).map(Money::price).transpose()?)
    }

    fn stock(&self) -> Result<Option<i64>, Error> {
        let wrong = |_| Error::invalid("stock", "must be a whole number");
        let stock = given(&self.stock).map(str::parse);
        stock.transpose().map_err(wrong)
    }
}

/// A value, unless its cell is empty.
fn given(cell: &str) -> Option<&str> {
    Some(cell.trim()).filter(|text| !text.is_empty())
}
