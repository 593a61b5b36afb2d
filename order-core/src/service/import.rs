//! Products from somewhere else, such as a file: created, or changed where they differ.
//!
//! Rows are written in batches that wait for no product, and a product that is in use gets a
//! transaction of its own. An import that was ended by force is made again as a whole: rows that are
//! done are found to be unchanged, and a key tells which stock was added.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{sync::Semaphore, time::timeout};

use super::OrderService;
use crate::{
    domain::{
        AdjustmentId, IdempotencyKey, Money, NewProduct, Product, ProductChange, ProductId,
        ProductRequest, SaleTerms, StockRequest, composed,
    },
    error::Error,
};

/// The most new products of a transaction: no sale waits for them.
const CREATED_AT_ONCE: usize = 1_000;
/// The most changed products of a transaction: their sales wait until it is over.
const CHANGED_AT_ONCE: usize = 100;
/// The transactions that are under way at once.
const BATCHES_AT_ONCE: usize = 4;
/// The products that are changed each in a transaction of its own, at once.
const SINGLES_AT_ONCE: usize = 8;
/// After this time, a product waits for a lock rather than for a commit, and lets another one begin.
const USUAL_TIME: Duration = Duration::from_millis(500);

/// A product as an import has it. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportRow {
    /// The product, where no sku names it.
    pub id: Option<ProductId>,
    /// The sku by which the product is found, or created.
    pub sku: Option<String>,
    /// Its name; needed for a new product.
    pub name: Option<String>,
    /// Its price; needed for a new product.
    pub price: Option<Money>,
    /// The stock of a new product. That of another one is set only where the options say so.
    pub stock: Option<i64>,
    /// Pieces to add to the stock, or to take from it.
    pub stock_delta: Option<i64>,
    /// The key by which these pieces are added once, however often the row comes.
    pub key: Option<IdempotencyKey>,
    /// The version of the product at which `stock` was read.
    pub version: Option<i64>,
    /// When it is on sale, and its limit per customer.
    pub terms: SaleTerms,
}

/// How to import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Set the stock of products that are at the version of their row, and refuse the other rows.
    pub set_stock: bool,
    /// Change nothing, and say what would be done.
    pub dry_run: bool,
}

/// What an import made of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What was done.
    pub outcome: ImportOutcome,
    /// The product has another stock than the row, and keeps it.
    pub is_stock_left: bool,
}

/// What was done for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The product is new.
    Created,
    /// The product was changed.
    Updated,
    /// The product was as the row has it.
    Unchanged,
    /// The pieces of the row were added before, and nothing else differs.
    AddedBefore,
}

/// The outcome of a row, by its place.
type Done = (usize, Result<ImportOutcome, Error>);

/// What is to be done for one row, before its pieces are added.
enum Plan {
    Create(NewProduct),
    Change(ProductId, ProductChange, AdjustmentId),
    Nothing(ProductId),
}

/// Pieces to add for the row at a place, and its outcome when they were added before.
type Addition = (usize, ProductId, ImportOutcome);

impl OrderService {
    /// Creates and changes products; gives what became of each row. Of rows for one product, the
    /// later ones are done later.
    ///
    /// # Errors
    /// When the store does not answer. Rows that were done before stay done, and the same import made
    /// again goes on.
    pub async fn import_products(
        &self,
        rows: &[ImportRow],
        options: ImportOptions,
    ) -> Result<Vec<Result<Imported, Error>>, Error> {
        let mut outcomes: Vec<Option<Result<Imported, Error>>> = vec![None; rows.len()];
        let mut left: Vec<usize> = (0..rows.len()).collect();
        // A sku may be taken by somebody who creates the same product: then it is looked for again.
        let mut is_retried = false;
        while !left.is_empty() {
            let known = self.known(left.iter().map(|at| &rows[*at])).await?;
            let (done, mut later) = self.import_round(rows, &left, &known, options).await?;
            for (at, outcome) in done {
                if matches!(outcome, Err(Error::SkuTaken)) && !is_retried {
                    later.push(at);
                    continue;
                }
                let is_stock_left = !options.set_stock && known.has_other_stock(&rows[at]);
                outcomes[at] = Some(outcome.map(|outcome| Imported {
                    outcome,
                    is_stock_left,
                }));
            }
            is_retried = later.len() == left.len() || is_retried;
            later.sort_unstable();
            left = later;
        }
        let missing = || Err(Error::corrupt("a row has no outcome"));
        let outcomes = outcomes.into_iter();
        Ok(outcomes.map(|one| one.unwrap_or_else(missing)).collect())
    }

    /// Does those of the `left` rows that are for products of their own; gives the others.
    async fn import_round(
        &self,
        rows: &[ImportRow],
        left: &[usize],
        known: &Known,
        options: ImportOptions,
    ) -> Result<(Vec<Done>, Vec<usize>), Error> {
        let (mut done, mut later) = (Vec::new(), Vec::new());
        let (mut new, mut changes) = (Vec::new(), Vec::new());
        let mut additions: Vec<Addition> = Vec::new();
        let mut seen = HashSet::new();
        for &at in left {
            let row = &rows[at];
            let product = known.find(row);
            let name = match &product {
                Ok(Some(product)) => product.id.to_string(),
                _ => row.normal_sku().unwrap_or_default(),
            };
            if !name.is_empty() && !seen.insert(name) {
                later.push(at);
                continue;
            }
            let adds = row.stock_delta.is_some();
            match product.and_then(|product| self.plan(row, product, options)) {
                Err(error) => done.push((at, Err(error))),
                Ok(plan) if options.dry_run => done.push((at, Ok(plan.outcome(adds)))),
                Ok(Plan::Nothing(id)) if adds => {
                    additions.push((at, id, ImportOutcome::AddedBefore));
                }
                Ok(Plan::Nothing(_)) => done.push((at, Ok(ImportOutcome::Unchanged))),
                Ok(Plan::Create(product)) => new.push((at, product)),
                Ok(Plan::Change(id, change, adjustment)) => {
                    changes.push((at, (id, change, adjustment)));
                }
            }
        }
        let created = self.create_all(new).await?.into_iter();
        let created = created.map(|(at, id)| (at, id, ImportOutcome::Created));
        let changed = self.change_all(changes).await?.into_iter();
        let changed = changed.map(|(at, id)| (at, id, ImportOutcome::Updated));
        for (at, id, outcome) in created.chain(changed) {
            match (id, rows[at].stock_delta) {
                (Ok(id), Some(_)) => additions.push((at, id, outcome)),
                (id, _) => done.push((at, id.map(|_| outcome))),
            }
        }
        let additions = additions.into_iter().map(|(at, id, outcome)| async move {
            (at, self.add_stock(id, &rows[at], outcome).await)
        });
        done.extend(with_slots(additions).await);
        Ok((done, later))
    }

    async fn known(&self, rows: impl Iterator<Item = &ImportRow>) -> Result<Known, Error> {
        let (mut skus, mut ids) = (Vec::new(), Vec::new());
        for row in rows {
            match (row.normal_sku(), row.id) {
                (Some(sku), _) if !sku.contains('\0') => skus.push(sku),
                (None, Some(id)) => ids.push(id),
                _ => {}
            }
        }
        let found = self.inner.products.products_named(&skus, &ids).await?;
        let sku = |one: &Product| Some((one.sku.clone()?, one.clone()));
        Ok(Known {
            by_sku: found.iter().filter_map(sku).collect(),
            by_id: found.into_iter().map(|one| (one.id, one)).collect(),
        })
    }

    fn plan(
        &self,
        row: &ImportRow,
        product: Option<&Product>,
        options: ImportOptions,
    ) -> Result<Plan, Error> {
        let now = self.now();
        let adjustment_id = AdjustmentId(self.inner.ids.next(now));
        let Some(product) = product else {
            let id = ProductId(self.inner.ids.next(now));
            let product = row.new_product()?.into_new_product(id, adjustment_id, now);
            row.check_addition(product.clone().into_product())?;
            return Ok(Plan::Create(product));
        };
        if options.dry_run {
            row.check_addition(product.clone())?;
        }
        let change = row.change(product, options)?;
        if change.is_empty() {
            return Ok(Plan::Nothing(product.id));
        }
        change.apply(product.clone(), now)?;
        Ok(Plan::Change(product.id, change, adjustment_id))
    }

    /// Gives the ids of the new products.
    async fn create_all(
        &self,
        new: Vec<(usize, NewProduct)>,
    ) -> Result<Vec<(usize, Result<ProductId, Error>)>, Error> {
        let batches = new.chunks(CREATED_AT_ONCE).map(|batch| async move {
            let products: Vec<NewProduct> = batch.iter().map(|(_, one)| one.clone()).collect();
            let created = self.run_to_completion(move |inner| async move {
                inner.products.create_products(&products).await
            });
            let created = created.await?.into_iter();
            let id = created.map(|one| one.map(|product| product.id));
            Ok(batch.iter().map(|(at, _)| *at).zip(id).collect())
        });
        all(batches).await
    }

    /// Gives the ids of the products that were changed.
    async fn change_all(
        &self,
        changes: Vec<(usize, (ProductId, ProductChange, AdjustmentId))>,
    ) -> Result<Vec<(usize, Result<ProductId, Error>)>, Error> {
        let now = self.now();
        let batches = changes.chunks(CHANGED_AT_ONCE).map(|batch| async move {
            let changes: Vec<_> = batch.iter().map(|(_, change)| change.clone()).collect();
            let changed = self.run_to_completion(move |inner| async move {
                inner.products.update_products(&changes, now).await
            });
            let changed = changed.await?.into_iter();
            Ok(batch.iter().zip(changed).collect())
        });
        let (mut done, mut in_use) = (Vec::new(), Vec::new());
        for ((at, change), outcome) in all(batches).await? {
            match outcome {
                Err(Error::Locked) => in_use.push((*at, change)),
                outcome => done.push((*at, outcome.map(|product| product.id))),
            }
        }
        let singles = in_use.into_iter().map(|(at, (id, change, _))| async move {
            let changed = self.update_product(*id, change).await;
            let changed = changed.and_then(|one| one.ok_or(Error::ProductNotFound(*id)));
            (at, changed.map(|product| product.id))
        });
        done.extend(with_slots(singles).await);
        Ok(done)
    }

    /// Adds the pieces of a row; `otherwise` is its outcome when they were added before.
    async fn add_stock(
        &self,
        id: ProductId,
        row: &ImportRow,
        otherwise: ImportOutcome,
    ) -> Result<ImportOutcome, Error> {
        let mut request = StockRequest::new(row.stock_delta.unwrap_or_default(), None)?;
        if let Some(key) = &row.key {
            request = request.with_key(key.clone());
        }
        let adjusted = self.adjust_stock_or_replay(id, request).await?;
        let adjusted = adjusted.ok_or(Error::ProductNotFound(id))?;
        Ok(match otherwise {
            ImportOutcome::AddedBefore if !adjusted.replayed => ImportOutcome::Updated,
            otherwise => otherwise,
        })
    }
}

impl Plan {
    const fn outcome(&self, adds: bool) -> ImportOutcome {
        match self {
            Self::Create(_) => ImportOutcome::Created,
            Self::Nothing(_) if !adds => ImportOutcome::Unchanged,
            Self::Change(..) | Self::Nothing(_) => ImportOutcome::Updated,
        }
    }
}

/// The products that rows name.
struct Known {
    by_sku: HashMap<String, Product>,
    by_id: HashMap<ProductId, Product>,
}

impl Known {
    /// The product of a row; `None` when it is new.
    fn find(&self, row: &ImportRow) -> Result<Option<&Product>, Error> {
        match (row.normal_sku(), row.id) {
            (Some(sku), _) => Ok(self.by_sku.get(&sku)),
            (None, Some(id)) => {
                let product = self.by_id.get(&id);
                product.map(Some).ok_or(Error::ProductNotFound(id))
            }
            (None, None) => Err(Error::invalid("sku", "is needed")),
        }
    }

    fn has_other_stock(&self, row: &ImportRow) -> bool {
        let product = self.find(row).ok().flatten();
        product.is_some_and(|product| row.stock.is_some_and(|stock| stock != product.stock))
    }
}

impl ImportRow {
    /// The sku as products have it.
    fn normal_sku(&self) -> Option<String> {
        let sku = self.sku.as_ref()?.trim();
        Some(composed(sku.to_owned()))
    }

    fn new_product(&self) -> Result<ProductRequest, Error> {
        let needed = |field: &'static str| Error::invalid(field, "is needed for a new product");
        let name = self.name.clone().ok_or_else(|| needed("name"))?;
        let price = self.price.ok_or_else(|| needed("price"))?;
        // Pieces are added afterwards, under their key.
        let none = self.stock_delta.map(|_| 0);
        let stock = self.stock.or(none).ok_or_else(|| needed("stock"))?;
        let product = ProductRequest::new(name, price, stock, self.sku.clone())?;
        Ok(product.on_terms(self.terms)?)
    }

    /// Checks that the pieces of this row can be added to a product.
    fn check_addition(&self, product: Product) -> Result<(), Error> {
        if let Some(delta) = self.stock_delta {
            let (id, at) = (product.id, product.updated_at);
            let adjustment = StockRequest::new(delta, None)?;
            adjustment
                .into_adjustment(AdjustmentId(id.0), id, at)
                .apply(product)?;
        }
        Ok(())
    }

    /// The fields that differ from the product, and no others.
    fn change(&self, product: &Product, options: ImportOptions) -> Result<ProductChange, Error> {
        let mut change = ProductChange::default();
        if let Some(name) = &self.name
            && composed(name.clone()) != product.name
        {
            change = change.name(name.clone())?;
        }
        if let Some(price) = self.price.filter(|price| *price != product.price) {
            change = change.price(price)?;
        }
        let (row, known) = (self.terms.storable(), product.terms);
        if let Some(limit) = other(row.limit_per_customer, known.limit_per_customer) {
            change = change.limit_per_customer(Some(limit))?;
        }
        if let Some(from) = other(row.on_sale_from, known.on_sale_from) {
            change = change.on_sale_from(Some(from));
        }
        if let Some(until) = other(row.on_sale_until, known.on_sale_until) {
            change = change.on_sale_until(Some(until));
        }
        let stock = self.stock.filter(|stock| *stock != product.stock);
        if let (Some(stock), true) = (stock, options.set_stock) {
            let unknown = || Error::invalid("version", "is needed to set the stock");
            let version = self.version.ok_or_else(unknown)?;
            change = change.stock(stock)?.expect_version(version);
        }
        Ok(change)
    }
}

/// The value of a row, where it has one and the product has another or none.
fn other<T: PartialEq>(row: Option<T>, known: Option<T>) -> Option<T> {
    row.filter(|value| known.as_ref() != Some(value))
}

/// The outcomes of batches, some of which are under way at once.
async fn all<T>(
    batches: impl Iterator<Item = impl Future<Output = Result<Vec<T>, Error>>>,
) -> Result<Vec<T>, Error> {
    let mut batches = stream::iter(batches).buffer_unordered(BATCHES_AT_ONCE);
    let mut outcomes = Vec::new();
    while let Some(batch) = batches.next().await {
        outcomes.extend(batch?);
    }
    Ok(outcomes)
}

/// The outcomes of single rows, of which some are under way at once, and any number wait for locks.
async fn with_slots<T>(rows: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let slots = Semaphore::new(SINGLES_AT_ONCE);
    let rows = rows.map(|row| async {
        let slot = slots.acquire().await;
        tokio::pin!(row);
        match timeout(USUAL_TIME, &mut row).await {
            Ok(done) => done,
            Err(_) => {
                drop(slot);
                row.await
            }
        }
    });
    futures_util::future::join_all(rows).await
}
