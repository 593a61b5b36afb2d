//! A backend of one's own: products and orders in memory, which is all that it takes to sell.
//! `cargo run --example custom_store`.
//!
//! Each method of the traits is one atomic step: here, it holds the lock of all tables. The test
//! `custom_store` puts this backend through the conformance suite.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use order_core::{
    Error, OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    decision::{BatchStock, Decided, Decision, Granted},
    domain::{
        AdjustmentId, IdempotencyKey, MAX_OFFSET_ROWS, MAX_STOCK, NewOrder, NewProduct, Order,
        OrderId, OrderRequest, OrderStatus, Page, PageRequest, PageStart, Product, ProductChange,
        ProductId, ProductRequest, Progress, Quantity, Replayable, Sort, StockAdjustment,
    },
    store::{
        Backlog, Cancelled, OrderQuery, OrderStore, Outcome, ProductQuery, ProductStore, Purchase,
        Selection, Store, Strategy,
    },
    verify::{Discrepancy, Verification, VerifyOptions},
};

/// All tables.
#[derive(Debug, Default)]
struct Tables {
    products: BTreeMap<ProductId, ProductRow>,
    orders: BTreeMap<OrderId, OrderRow>,
    /// The ledger of stock that did not come from orders.
    adjustments: Vec<(ProductId, i64)>,
    /// The request that each key was used for, and the order that it is about.
    keys: BTreeMap<IdempotencyKey, (String, OrderId)>,
    /// The time by which the clock was moved.
    ahead: TimeDelta,
}

#[derive(Debug)]
struct ProductRow {
    product: Product,
    is_archived: bool,
}

#[derive(Debug)]
struct OrderRow {
    order: Order,
    /// The time at which it came, by the clock of the store.
    stored_at: DateTime<Utc>,
}

/// Products and orders in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock, for tests.
    pub fn advance(&self, by: TimeDelta) {
        self.tables().ahead += by;
    }
}

impl Tables {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.ahead
    }

    fn active(&self, id: ProductId) -> Option<&Product> {
        let row = self.products.get(&id).filter(|row| !row.is_archived);
        row.map(|row| &row.product)
    }

    fn all_active(&self) -> impl Iterator<Item = &Product> {
        let rows = self.products.values().filter(|row| !row.is_archived);
        rows.map(|row| &row.product)
    }

    /// Replaces a product.
    fn put(&mut self, product: Product) {
        if let Some(row) = self.products.get_mut(&product.id) {
            row.product = product;
        }
    }

    fn check_sku(&self, product: &Product) -> Result<(), Error> {
        let mut others = self.all_active().filter(|other| other.id != product.id);
        if product.sku.is_some() && others.any(|other| other.sku == product.sku) {
            return Err(Error::SkuTaken);
        }
        Ok(())
    }

    /// The order that an earlier request with this key is about, if there was one.
    fn replayed(
        &self,
        key: Option<&IdempotencyKey>,
        request: &str,
    ) -> Result<Option<OrderId>, Error> {
        match key.and_then(|key| self.keys.get(key)) {
            Some((earlier, id)) if earlier == request => Ok(Some(*id)),
            Some(_) => Err(Error::IdempotencyKeyReused),
            None => Ok(None),
        }
    }

    fn keep_key(&mut self, key: Option<&IdempotencyKey>, request: String, id: OrderId) {
        if let Some(key) = key {
            self.keys.insert(key.clone(), (request, id));
        }
    }

    /// The answer to an order that is stored already, or whose key an earlier order has.
    fn earlier(&self, order: &NewOrder, request: &str) -> Result<Option<Order>, Error> {
        if let Some(row) = self.orders.get(&order.id()) {
            return Ok(Some(row.order.clone()));
        }
        let id = self.replayed(order.key(), request)?;
        let row = id.and_then(|id| self.orders.get(&id));
        Ok(row.map(|row| row.order.clone().as_placed()))
    }

    fn priced(&self, order: &NewOrder) -> Result<Order, Error> {
        Ok(order.priced(|id| self.active(id).map(|product| product.price))?)
    }

    fn store(&mut self, order: Order) {
        let stored_at = self.now();
        let id = order.id;
        self.orders.insert(id, OrderRow { order, stored_at });
    }

    fn accept(&mut self, order: &NewOrder) -> Result<Order, Error> {
        let request = request("accept", order);
        if let Some(earlier) = self.earlier(order, &request)? {
            return Ok(earlier);
        }
        let accepted = self.priced(order)?;
        self.keep_key(order.key(), request, order.id());
        self.store(accepted.clone());
        Ok(accepted)
    }

    /// The stock of all products, for a batch to take from.
    fn batch_stock(&self) -> BatchStock {
        let mut stock = BatchStock::with_capacity(self.products.len());
        for (id, row) in &self.products {
            stock.insert(*id, row.product.stock, !row.is_archived);
        }
        stock
    }

    /// Writes the stock that a batch took; gives the products that changed.
    fn deduct(&mut self, stock: &BatchStock, at: DateTime<Utc>) -> Vec<Product> {
        let mut changed = Vec::new();
        for (id, pieces) in stock.deductions() {
            if let Some(row) = self.products.get_mut(&id) {
                row.product.stock -= pieces;
                row.product.version += 1;
                row.product.updated_at = at;
                changed.push(row.product.clone());
            }
        }
        changed
    }

    fn purchase(&mut self, order: &NewOrder, stock: &mut BatchStock) -> Result<Order, Error> {
        let request = request("purchase", order);
        if let Some(earlier) = self.earlier(order, &request)? {
            let sold_at = earlier.created_at;
            return Ok(match earlier.status {
                OrderStatus::Pending => earlier.sold(sold_at),
                _ => earlier,
            });
        }
        let placed = self.priced(order)?;
        stock.decide(order.lines())?;
        let sold = placed.sold(order.created_at());
        self.keep_key(order.key(), request, order.id());
        self.store(sold.clone());
        Ok(sold)
    }

    fn pending(&self) -> impl Iterator<Item = &OrderRow> {
        let rows = self.orders.values();
        rows.filter(|row| row.order.status == OrderStatus::Pending)
    }

    fn decide(&mut self, id: OrderId, stock: &mut BatchStock, at: DateTime<Utc>) -> Decision {
        let Some(row) = self.orders.get_mut(&id) else {
            return Ok(Granted::Sold);
        };
        let taken = stock.decide(&row.order.requested_lines());
        let decision = taken.map(|()| Granted::Sold);
        row.order.decided_at = Some(at);
        row.order.failure = decision.err();
        row.order.status = match decision {
            Ok(_) => OrderStatus::Success,
            Err(_) => OrderStatus::Failed,
        };
        decision
    }

    /// Gives the stock of a cancelled order back.
    fn restock(&mut self, order: &Order, at: DateTime<Utc>) -> Result<Vec<Product>, Error> {
        let mut pieces: BTreeMap<ProductId, i64> = BTreeMap::new();
        for line in &order.lines {
            *pieces.entry(line.product_id).or_default() += line.quantity.get();
        }
        for (product_id, pieces) in &pieces {
            let stock = self.products.get(product_id).map(|row| row.product.stock);
            if stock.is_some_and(|stock| stock + pieces > MAX_STOCK) {
                let product_id = *product_id;
                return Err(Error::StockLimit { product_id });
            }
        }
        let mut changed = Vec::new();
        for (id, pieces) in pieces {
            if let Some(row) = self.products.get_mut(&id) {
                row.product.stock += pieces;
                row.product.version += 1;
                row.product.updated_at = at;
                changed.extend((!row.is_archived).then(|| row.product.clone()));
            }
        }
        Ok(changed)
    }
}

/// A text that is the same for the same request.
fn request(mode: &str, order: &NewOrder) -> String {
    format!("{mode} {:?} {:?}", order.lines(), order.reference())
}

/// The orders that share a transaction: all, or one each.
fn group_size(strategy: Strategy) -> usize {
    match strategy {
        Strategy::Batch => usize::MAX,
        _ => 1,
    }
}

/// A page of `all`, which come in any order.
fn page<T, Id: Copy + Ord>(
    mut all: Vec<T>,
    sort: Sort,
    request: &PageRequest<Id>,
    id: impl Fn(&T) -> Id,
) -> Page<T, Id> {
    let total = all.len().min(MAX_OFFSET_ROWS as usize) as u64;
    let (skip, total) = match request.start {
        PageStart::Offset(rows) => (rows as usize, Some(total)),
        _ => (0, None),
    };
    sort.arrange(&mut all, &id);
    let is_left = |item: &T| match request.start {
        PageStart::After(after) => sort.is_after(&id(item), &after),
        _ => true,
    };
    let mut items: Vec<T> = all.into_iter().filter(is_left).skip(skip).collect();
    let has_more = items.len() > request.size.get() as usize;
    items.truncate(request.size.get() as usize);
    let next = items.last().filter(|_| has_more).map(&id);
    Page { items, next, total }
}

#[async_trait]
impl ProductStore for MemoryStore {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        let mut tables = self.tables();
        let product = product.clone().into_product();
        tables.check_sku(&product)?;
        tables.adjustments.push((product.id, product.stock));
        let row = ProductRow {
            product: product.clone(),
            is_archived: false,
        };
        tables.products.insert(product.id, row);
        Ok(product)
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        Ok(self.tables().active(id).cloned())
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        let tables = self.tables();
        let mut active = tables.all_active();
        Ok(active
            .find(|product| product.sku.as_deref() == Some(sku))
            .cloned())
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        let tables = self.tables();
        let active = tables.all_active();
        let found = active.filter(|product| query.matches(product));
        let (found, id) = (found.cloned().collect(), |product: &Product| product.id);
        Ok(page(found, query.sort, &query.page, id))
    }

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        _: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        let mut tables = self.tables();
        let Some(before) = tables.active(id).cloned() else {
            return Ok(None);
        };
        let stock = before.stock;
        let product = change.apply(before, at)?;
        tables.check_sku(&product)?;
        tables.adjustments.push((id, product.stock - stock));
        tables.put(product.clone());
        Ok(Some(product))
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let mut tables = self.tables();
        let (id, key) = (adjustment.product_id, adjustment.key.as_ref());
        let Some(product) = tables.active(id).cloned() else {
            return Ok(None);
        };
        let request = format!("adjust {id} {} {}", adjustment.delta, adjustment.reason);
        if tables.replayed(key, &request)?.is_some() {
            return Ok(Some(Replayable::again(product)));
        }
        let product = adjustment.apply(product)?;
        tables.adjustments.push((id, adjustment.delta));
        tables.keep_key(key, request, OrderId(adjustment.id.0));
        tables.put(product.clone());
        Ok(Some(Replayable::first(product)))
    }

    async fn archive_product(
        &self,
        id: ProductId,
        expected_versions: &[i64],
        _: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let mut tables = self.tables();
        let row = tables.products.get_mut(&id);
        let Some(row) = row.filter(|row| !row.is_archived) else {
            return Ok(false);
        };
        row.product.check_version(expected_versions)?;
        row.is_archived = true;
        Ok(true)
    }
}

#[async_trait]
impl OrderStore for MemoryStore {
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        let mut tables = self.tables();
        Ok(orders.iter().map(|order| tables.accept(order)).collect())
    }

    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error> {
        let (mut tables, mut outcome) = (self.tables(), Outcome::default());
        for group in orders.chunks(group_size(strategy)) {
            let mut stock = tables.batch_stock();
            for order in group {
                outcome.results.push(tables.purchase(order, &mut stock));
            }
            let at = group.iter().map(NewOrder::created_at).max();
            let changed = tables.deduct(&stock, at.unwrap_or_default());
            outcome
                .changed
                .retain(|before: &Product| changed.iter().all(|after| after.id != before.id));
            outcome.changed.extend(changed);
        }
        Ok(outcome)
    }

    async fn decide(
        &self,
        pick: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        let (mut tables, mut outcome) = (self.tables(), Outcome::default());
        let pending = tables.pending().map(|row| row.order.id);
        let ids: Vec<OrderId> = match pick {
            Selection::Oldest(limit) => pending.take(limit).collect(),
            Selection::ByIds(ids) => pending.filter(|id| ids.contains(id)).collect(),
        };
        for group in ids.chunks(group_size(strategy)) {
            let mut stock = tables.batch_stock();
            for id in group {
                let decision = tables.decide(*id, &mut stock, at);
                outcome.results.push((*id, decision));
            }
            let changed = tables.deduct(&stock, at);
            outcome
                .changed
                .retain(|before: &Product| changed.iter().all(|after| after.id != before.id));
            outcome.changed.extend(changed);
        }
        Ok(outcome)
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        let tables = self.tables();
        Ok(tables.orders.get(&id).map(|row| row.order.clone()))
    }

    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        let tables = self.tables();
        let rows = ids.iter().filter_map(|id| tables.orders.get(id));
        Ok(rows.map(|row| Progress::from(&row.order)).collect())
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        let tables = self.tables();
        let fits = |order: &&Order| {
            let mut products = order.lines.iter().map(|line| line.product_id);
            query.status.is_none_or(|status| order.status == status)
                && query.created.contains(order.created_at)
                && (query.client.is_none() || order.client == query.client)
                && (query.reference.is_none() || order.reference == query.reference)
                && query
                    .product_id
                    .is_none_or(|id| products.any(|product| product == id))
        };
        let all = tables.orders.values().map(|row| &row.order);
        let (found, id) = (all.filter(fits).cloned().collect(), |order: &Order| {
            order.id
        });
        Ok(page(found, query.sort, &query.page, id))
    }

    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error> {
        let mut tables = self.tables();
        let Some(order) = tables.orders.get(&id).map(|row| row.order.clone()) else {
            return Ok(None);
        };
        let request = format!("cancel {id}");
        let replayed = tables.replayed(key, &request)?.is_some();
        if order.status == OrderStatus::Cancelled {
            return Ok(Some(Cancelled {
                order,
                changed: Vec::new(),
                replayed,
            }));
        }
        let held_stock = order.status.holds_stock();
        let order = order.cancelled(at)?;
        let changed = match held_stock {
            true => tables.restock(&order, at)?,
            false => Vec::new(),
        };
        if let Some(row) = tables.orders.get_mut(&id) {
            row.order = order.clone();
        }
        tables.keep_key(key, request, id);
        Ok(Some(Cancelled {
            order,
            changed,
            replayed,
        }))
    }

    async fn pending_for(
        &self,
        age: Duration,
        after: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<OrderId>, Error> {
        let tables = self.tables();
        let now = tables.now();
        let is_old = |row: &&OrderRow| {
            let pending_for = (now - row.stored_at).to_std().unwrap_or_default();
            pending_for >= age && after.is_none_or(|after| row.order.id > after)
        };
        let old = tables.pending().filter(is_old);
        Ok(old.map(|row| row.order.id).take(limit).collect())
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let tables = self.tables();
        let oldest = tables.pending().map(|row| row.stored_at).next();
        let age = oldest.map(|stored_at| tables.now() - stored_at);
        Ok(Backlog {
            orders: tables.pending().count() as u64,
            oldest_age: age.map(|age| age.to_std().unwrap_or_default()),
        })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn verify_with(&self, _options: &VerifyOptions) -> Result<Verification, Error> {
        let tables = self.tables();
        let mut adjusted: BTreeMap<ProductId, i64> = BTreeMap::new();
        for (id, delta) in &tables.adjustments {
            *adjusted.entry(*id).or_default() += delta;
        }
        let mut held: BTreeMap<ProductId, i64> = BTreeMap::new();
        let holding = tables.orders.values().map(|row| &row.order);
        for order in holding.filter(|order| order.status.holds_stock()) {
            for line in &order.lines {
                *held.entry(line.product_id).or_default() += line.quantity.get();
            }
        }
        let wrong = tables.products.iter().filter_map(|(id, row)| {
            let adjusted = adjusted.get(id).copied().unwrap_or_default();
            let held = held.get(id).copied().unwrap_or_default();
            Discrepancy::of_stock(id.0, row.product.stock, adjusted, held)
        });
        Ok(wrong.collect())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop = OrderService::builder(Arc::new(MemoryStore::default())).build();
    let lamp = ProductRequest::new("Lamp", "19.99".parse()?, 2, None)?;
    let lamp = shop.create_product(lamp).await?;
    let one = OrderRequest::one(lamp.id, Quantity::new(1)?);

    let bought = shop.purchase(one.clone()).await?;
    println!("at once: {} for {}", bought.status, bought.total_price);
    let (last, late) = (shop.accept(one.clone()).await?, shop.accept(one).await?);
    let worker = shop.worker(WorkerOptions::default());
    let decided = worker.drain(&Default::default()).await?;
    println!("later: {} sold, {} failed", decided.sold, decided.failed);
    for id in [last.id, late.id] {
        println!(
            "{id}: {:?}",
            shop.order(id).await?.map(|order| order.status)
        );
    }
    Ok(())
}
