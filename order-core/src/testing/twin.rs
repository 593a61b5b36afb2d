//! The twin: a store in memory, as naive as it can be, to compare real ones with.
//!
//! It shares no code with them beyond the domain types: it sums, sorts and checks in its own,
//! slow words, so that a mistake in the shared decision does not hide in both.

mod keys;
mod queue;
mod stats;
mod tasks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use self::queue::{Entry, TwinQueue};
use super::conformance::Time;
use crate::{
    clock::{Clock, SystemClock},
    decide::Decision,
    domain::{
        AdjustmentId, Failure, FailureCode, IdempotencyKey, MAX_OFFSET_ROWS, MAX_STOCK, NewOrder,
        NewProduct, Order, OrderId, OrderLine, OrderStatus, Page, PageRequest, PageStart, Product,
        ProductChange, ProductId, Progress, Replayable, StockAdjustment, folded,
    },
    error::Error,
    keys::HashedKey,
    process::Attempt,
    queue::{OrderQueue, Topic},
    store::{
        Backlog, Cancelled, Decided, OrderQuery, OrderStore, Outcome, PoolStats, ProductQuery,
        ProductStore, Purchase, Selection, StockDiscrepancy, Store, Strategy,
    },
    worker::KnownWorker,
};

#[derive(Debug, Default)]
struct State {
    products: BTreeMap<ProductId, Product>,
    archived: BTreeMap<ProductId, Product>,
    orders: BTreeMap<OrderId, Order>,
    adjustments: Vec<(ProductId, i64)>,
    /// What a key was used for, and what was made with it.
    used: BTreeMap<IdempotencyKey, (String, uuid::Uuid)>,
    keys: Vec<HashedKey>,
    entries: BTreeMap<(Topic, OrderId), Entry>,
    attempts: BTreeMap<(OrderId, u32), Attempt>,
    workers: BTreeMap<uuid::Uuid, KnownWorker>,
    paused: BTreeSet<Topic>,
    /// When orders came, by the clock of the twin.
    stored: BTreeMap<OrderId, DateTime<Utc>>,
    /// How far the clock of the twin was moved.
    ahead: TimeDelta,
}

/// A store in memory that loses everything with the process. For tests. Its clock is the
/// machine's until it is moved.
#[derive(Clone, Debug, Default)]
pub struct Twin {
    state: Arc<Mutex<State>>,
}

#[async_trait]
impl Time for Twin {
    async fn advance(&self, by: TimeDelta) {
        self.state.lock().unwrap().ahead += by;
    }
}

impl State {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.ahead
    }

    fn pending_for(&self, id: OrderId) -> Duration {
        (self.now() - self.stored[&id]).to_std().unwrap()
    }

    /// What a request with this key made, when one did that asked for the same.
    fn replay(
        &self,
        key: Option<&IdempotencyKey>,
        asked: &str,
    ) -> Result<Option<uuid::Uuid>, Error> {
        match key.and_then(|key| self.used.get(key)) {
            Some((before, made)) if before == asked => Ok(Some(*made)),
            Some(_) => Err(Error::IdempotencyKeyReused),
            None => Ok(None),
        }
    }

    fn keep_key(&mut self, key: Option<&IdempotencyKey>, asked: String, made: uuid::Uuid) {
        if let Some(key) = key {
            self.used.insert(key.clone(), (asked, made));
        }
    }

    fn sku_is_free(&self, sku: Option<&String>, but_for: ProductId) -> Result<(), Error> {
        let taken = sku.is_some()
            && self
                .products
                .values()
                .any(|product| product.id != but_for && product.sku.as_ref() == sku);
        if taken { Err(Error::SkuTaken) } else { Ok(()) }
    }

    fn price(&self, order: &NewOrder) -> Result<Order, Error> {
        let mut lines = Vec::new();
        let mut total = 0;
        for line in &order.lines {
            let product = self
                .products
                .get(&line.product_id)
                .ok_or(Error::ProductNotFound(line.product_id))?;
            total += product.price.minor_units() * line.quantity.get();
            lines.push(OrderLine {
                product_id: line.product_id,
                quantity: line.quantity,
                unit_price: product.price,
            });
        }
        Ok(Order {
            id: order.id,
            status: OrderStatus::Pending,
            lines,
            total_price: crate::domain::Money::from_minor_units(total).unwrap(),
            reference: order.reference.clone(),
            trace_parent: order.trace_parent,
            failure: None,
            created_at: order.created_at,
            decided_at: None,
            completed_at: None,
            cancelled_at: None,
        })
    }

    /// Takes the stock of all lines, one product at a time, and puts it back when one fails.
    fn take(&mut self, order: &Order, at: DateTime<Utc>) -> Decision {
        let mut wanted: Vec<(ProductId, i64)> = Vec::new();
        for line in &order.lines {
            match wanted.iter_mut().find(|(id, _)| *id == line.product_id) {
                Some((_, sum)) => *sum += line.quantity.get(),
                None => wanted.push((line.product_id, line.quantity.get())),
            }
        }
        for (product_id, requested) in &wanted {
            let failure = |code, available| Failure {
                code,
                product_id: *product_id,
                requested: *requested,
                available,
            };
            let Some(product) = self.products.get(product_id) else {
                return Err(failure(FailureCode::ProductUnavailable, 0));
            };
            if product.stock < *requested {
                return Err(failure(FailureCode::InsufficientStock, product.stock));
            }
        }
        for (product_id, requested) in wanted {
            let product = self.products.get_mut(&product_id).unwrap();
            product.stock -= requested;
            product.updated_at = at;
        }
        Ok(())
    }

    /// A batch counts as one change of each product whose stock it changed.
    fn bump_versions(&mut self, before: &BTreeMap<ProductId, i64>) {
        for product in self.products.values_mut() {
            if before.get(&product.id).is_some_and(|s| *s != product.stock) {
                product.version += 1;
            }
        }
    }

    fn stocks(&self) -> BTreeMap<ProductId, i64> {
        let products = self.products.values().chain(self.archived.values());
        products.map(|p| (p.id, p.stock)).collect()
    }

    fn changed_since(&self, before: &BTreeMap<ProductId, i64>) -> Vec<Product> {
        let products = self.products.values();
        products
            .filter(|p| before.get(&p.id).is_some_and(|stock| *stock != p.stock))
            .cloned()
            .collect()
    }

    fn accept(&mut self, order: &NewOrder) -> Result<Order, Error> {
        if let Some(stored) = self.orders.get(&order.id) {
            return Ok(stored.clone());
        }
        let asked = format!("accept {:?} {:?}", order.lines, order.reference);
        if let Some(made) = self.replay(order.key.as_ref(), &asked)? {
            return Ok(unsettled(self.orders[&OrderId(made)].clone()));
        }
        let accepted = self.price(order)?;
        self.keep_key(order.key.as_ref(), asked, order.id.0);
        self.orders.insert(order.id, accepted.clone());
        self.stored.insert(order.id, self.now());
        Ok(accepted)
    }

    fn purchase(&mut self, orders: &[NewOrder]) -> Vec<Result<Order, Error>> {
        let before = self.stocks();
        let at = orders.iter().map(|order| order.created_at).max();
        let results = orders
            .iter()
            .map(|order| {
                if let Some(stored) = self.orders.get(&order.id) {
                    return Ok(stored.clone());
                }
                let asked = format!("purchase {:?} {:?}", order.lines, order.reference);
                if let Some(made) = self.replay(order.key.as_ref(), &asked)? {
                    let placed = unsettled(self.orders[&OrderId(made)].clone());
                    return Ok(sold(placed));
                }
                let placed = self.price(order)?;
                self.take(&placed, at.unwrap_or_default())?;
                self.keep_key(order.key.as_ref(), asked, order.id.0);
                let placed = sold(placed);
                self.orders.insert(order.id, placed.clone());
                self.sold(order.id);
                Ok(placed)
            })
            .collect();
        self.bump_versions(&before);
        results
    }

    fn decide(&mut self, ids: &[OrderId], at: DateTime<Utc>) -> Vec<(OrderId, Decision)> {
        let before = self.stocks();
        let decisions = ids
            .iter()
            .map(|id| {
                let mut order = self.orders[id].clone();
                let decision = self.take(&order, at);
                order.decided_at = Some(at);
                order.failure = decision.err();
                order.status = match decision {
                    Ok(()) => OrderStatus::Success,
                    Err(_) => OrderStatus::Failed,
                };
                self.orders.insert(*id, order);
                if decision.is_ok() {
                    self.sold(*id);
                }
                (*id, decision)
            })
            .collect();
        self.bump_versions(&before);
        decisions
    }

    fn pending(&self, pick: Selection<'_>) -> Vec<OrderId> {
        let pending = self
            .orders
            .values()
            .filter(|order| order.status == OrderStatus::Pending)
            .map(|order| order.id);
        match pick {
            Selection::Oldest(limit) => pending.take(limit).collect(),
            Selection::ByIds(ids) => pending.filter(|id| ids.contains(id)).collect(),
        }
    }

    fn cancel(&mut self, id: OrderId, at: DateTime<Utc>) -> Result<Option<Order>, Error> {
        let Some(mut order) = self.orders.get(&id).cloned() else {
            return Ok(None);
        };
        match order.status {
            OrderStatus::Cancelled => return Ok(Some(order)),
            OrderStatus::Pending => {}
            OrderStatus::Success => {
                let mut back: BTreeMap<ProductId, i64> = BTreeMap::new();
                for line in &order.lines {
                    *back.entry(line.product_id).or_default() += line.quantity.get();
                }
                let full = |(id, pieces): (&ProductId, &i64)| {
                    let product = self.products.get(id).or_else(|| self.archived.get(id));
                    (product.unwrap().stock + pieces > MAX_STOCK).then_some(*id)
                };
                if let Some(product_id) = back.iter().find_map(full) {
                    return Err(Error::StockLimit { product_id });
                }
                for (id, pieces) in back {
                    let product = match self.products.get_mut(&id) {
                        Some(product) => product,
                        None => self.archived.get_mut(&id).unwrap(),
                    };
                    product.stock += pieces;
                    product.version += 1;
                    product.updated_at = at;
                }
                self.unsold(id);
            }
            status @ (OrderStatus::Failed | OrderStatus::Completed) => {
                return Err(Error::OrderState { status });
            }
        }
        order.status = OrderStatus::Cancelled;
        order.cancelled_at = Some(at);
        self.orders.insert(id, order.clone());
        Ok(Some(order))
    }
}

/// The order as if nothing had become of it yet.
fn unsettled(order: Order) -> Order {
    Order {
        status: OrderStatus::Pending,
        failure: None,
        decided_at: None,
        completed_at: None,
        cancelled_at: None,
        ..order
    }
}

fn sold(mut order: Order) -> Order {
    order.status = OrderStatus::Success;
    order.decided_at = Some(order.created_at);
    order
}

/// A page of `all`, which are sorted newest first.
fn page<T, Id: Copy + Ord>(
    all: Vec<T>,
    request: &PageRequest<Id>,
    id: impl Fn(&T) -> Id,
) -> Page<T, Id> {
    let total = all.len().min(MAX_OFFSET_ROWS as usize) as u64;
    let (skip, total) = match request.start {
        PageStart::Offset(rows) => (rows as usize, Some(total)),
        _ => (0, None),
    };
    let mut items: Vec<T> = all
        .into_iter()
        .filter(|item| !matches!(request.start, PageStart::After(after) if id(item) >= after))
        .skip(skip)
        .collect();
    let size = request.size.get() as usize;
    let more = items.len() > size;
    items.truncate(size);
    let next = if more { items.last().map(&id) } else { None };
    Page { items, next, total }
}

#[async_trait]
impl ProductStore for Twin {
    async fn create_product(&self, product: &NewProduct) -> Result<Product, Error> {
        let mut state = self.state.lock().unwrap();
        let product = product.clone().into_product();
        state.sku_is_free(product.sku.as_ref(), product.id)?;
        state.adjustments.push((product.id, product.stock));
        state.products.insert(product.id, product.clone());
        Ok(product)
    }

    async fn product(&self, id: ProductId) -> Result<Option<Product>, Error> {
        Ok(self.state.lock().unwrap().products.get(&id).cloned())
    }

    async fn product_with_sku(&self, sku: &str) -> Result<Option<Product>, Error> {
        let state = self.state.lock().unwrap();
        let mut living = state.products.values();
        Ok(living
            .find(|product| product.sku.as_deref() == Some(sku))
            .cloned())
    }

    async fn products(&self, query: &ProductQuery) -> Result<Page<Product, ProductId>, Error> {
        let state = self.state.lock().unwrap();
        let search = folded(query.search.as_deref().unwrap_or_default());
        let all = state
            .products
            .values()
            .rev()
            .filter(|product| folded(&product.name).contains(&search))
            .cloned()
            .collect();
        Ok(page(all, &query.page, |product: &Product| product.id))
    }

    async fn update_product(
        &self,
        id: ProductId,
        change: &ProductChange,
        _: AdjustmentId,
        at: DateTime<Utc>,
    ) -> Result<Option<Product>, Error> {
        let mut state = self.state.lock().unwrap();
        let Some(mut product) = state.products.get(&id).cloned() else {
            return Ok(None);
        };
        if let Some(expected) = change.expected_version
            && expected != product.version
        {
            let actual = product.version;
            return Err(Error::VersionMismatch { expected, actual });
        }
        if let Some(sku) = &change.sku {
            state.sku_is_free(sku.as_ref(), id)?;
            product.sku.clone_from(sku);
        }
        if let Some(name) = &change.name {
            product.name.clone_from(name);
        }
        if let Some(price) = change.price {
            product.price = price;
        }
        if let Some(stock) = change.stock {
            state.adjustments.push((id, stock - product.stock));
            product.stock = stock;
        }
        product.version += 1;
        product.updated_at = at;
        state.products.insert(id, product.clone());
        Ok(Some(product))
    }

    async fn adjust_stock(
        &self,
        adjustment: &StockAdjustment,
    ) -> Result<Option<Replayable<Product>>, Error> {
        let mut state = self.state.lock().unwrap();
        let (id, delta) = (adjustment.product_id, adjustment.delta);
        let asked = format!("adjust {id} {delta} {}", adjustment.reason);
        if let Some(product) = state.products.get(&id)
            && state.replay(adjustment.key.as_ref(), &asked)?.is_some()
        {
            return Ok(Some(Replayable::again(product.clone())));
        }
        let Some(product) = state.products.get_mut(&id) else {
            return Ok(None);
        };
        if product.stock + delta < 0 {
            return Err(Error::InsufficientStock {
                product_id: id,
                requested: -delta,
                available: product.stock,
            });
        }
        if product.stock + delta > MAX_STOCK {
            return Err(Error::StockLimit { product_id: id });
        }
        product.stock += delta;
        product.version += 1;
        product.updated_at = adjustment.created_at;
        let product = product.clone();
        state.adjustments.push((id, delta));
        state.keep_key(adjustment.key.as_ref(), asked, adjustment.id.0);
        Ok(Some(Replayable::first(product)))
    }

    async fn archive_product(&self, id: ProductId, _: DateTime<Utc>) -> Result<bool, Error> {
        let mut state = self.state.lock().unwrap();
        let Some(product) = state.products.remove(&id) else {
            return Ok(false);
        };
        state.archived.insert(id, product);
        Ok(true)
    }

    async fn fold_names(&self) -> Result<u64, Error> {
        Ok(0)
    }
}

#[async_trait]
impl OrderStore for Twin {
    async fn accept(&self, orders: &[NewOrder]) -> Result<Vec<Result<Order, Error>>, Error> {
        let mut state = self.state.lock().unwrap();
        let mut results = Vec::new();
        for order in orders {
            results.push(state.accept(order));
        }
        Ok(results)
    }

    async fn purchase(
        &self,
        orders: &[NewOrder],
        strategy: Strategy,
    ) -> Result<Outcome<Purchase>, Error> {
        let mut state = self.state.lock().unwrap();
        let before = state.stocks();
        let size = group_size(orders.len(), strategy);
        let mut results = Vec::new();
        for group in orders.chunks(size) {
            results.extend(state.purchase(group));
        }
        let changed = state.changed_since(&before);
        Ok(Outcome {
            results,
            changed,
            ..Outcome::default()
        })
    }

    async fn decide(
        &self,
        pick: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<Outcome<Decided>, Error> {
        let mut state = self.state.lock().unwrap();
        let before = state.stocks();
        let ids = state.pending(pick);
        let size = group_size(ids.len(), strategy);
        let mut results = Vec::new();
        for group in ids.chunks(size) {
            results.extend(state.decide(group, at));
        }
        let changed = state.changed_since(&before);
        Ok(Outcome {
            results,
            changed,
            ..Outcome::default()
        })
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        Ok(self.state.lock().unwrap().orders.get(&id).cloned())
    }

    async fn progress(&self, ids: &[OrderId]) -> Result<Vec<Progress>, Error> {
        let state = self.state.lock().unwrap();
        let found = ids.iter().filter_map(|id| state.orders.get(id));
        Ok(found.map(Progress::from).collect())
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Page<Order, OrderId>, Error> {
        let state = self.state.lock().unwrap();
        let all = state
            .orders
            .values()
            .rev()
            .filter(|order| query.status.is_none_or(|status| order.status == status))
            .filter(|order| query.reference.is_none() || order.reference == query.reference)
            .filter(|order| {
                query
                    .product_id
                    .is_none_or(|id| order.lines.iter().any(|line| line.product_id == id))
            })
            .cloned()
            .collect();
        Ok(page(all, &query.page, |order: &Order| order.id))
    }

    async fn cancel(
        &self,
        id: OrderId,
        at: DateTime<Utc>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Cancelled>, Error> {
        let mut state = self.state.lock().unwrap();
        let Some(order) = state.orders.get(&id) else {
            return Ok(None);
        };
        let asked = format!("cancel {id}");
        let replayed = state.replay(key, &asked)?.is_some();
        let is_cancelled = order.status == OrderStatus::Cancelled;
        let before = state.stocks();
        let cancelled = state.cancel(id, at)?;
        let changed = state.changed_since(&before);
        if !is_cancelled {
            state.keep_key(key, asked, id.0);
        }
        Ok(cancelled.map(|order| Cancelled {
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
        let state = self.state.lock().unwrap();
        let mut pending = state.pending(Selection::Oldest(usize::MAX));
        pending.retain(|id| state.pending_for(*id) >= age && after.is_none_or(|a| *id > a));
        pending.truncate(limit);
        Ok(pending)
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let state = self.state.lock().unwrap();
        let pending = state.pending(Selection::Oldest(usize::MAX));
        Ok(Backlog {
            orders: pending.len() as u64,
            oldest_age: pending.first().map(|id| state.pending_for(*id)),
        })
    }
}

fn group_size(orders: usize, strategy: Strategy) -> usize {
    match strategy {
        Strategy::Batch => orders.max(1),
        Strategy::RowLock | Strategy::ConditionalUpdate => 1,
    }
}

#[async_trait]
impl Store for Twin {
    fn queue(&self) -> Arc<dyn OrderQueue> {
        Arc::new(TwinQueue::new(Arc::clone(&self.state)))
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn migrate(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn verify(&self) -> Result<Vec<StockDiscrepancy>, Error> {
        let state = self.state.lock().unwrap();
        let products = state.products.values().chain(state.archived.values());
        Ok(products
            .map(|product| StockDiscrepancy {
                product_id: product.id,
                stock: product.stock,
                adjusted: state
                    .adjustments
                    .iter()
                    .filter(|(id, _)| *id == product.id)
                    .map(|(_, delta)| delta)
                    .sum(),
                held: state
                    .orders
                    .values()
                    .filter(|order| order.status.holds_stock())
                    .flat_map(|order| &order.lines)
                    .filter(|line| line.product_id == product.id)
                    .map(|line| line.quantity.get())
                    .sum(),
            })
            .filter(|books| books.stock != books.adjusted - books.held)
            .collect())
    }

    fn pools(&self) -> Vec<PoolStats> {
        Vec::new()
    }
}
