//! The memory of the reference store, and what happens in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::queue_entry::QueueEntry;
use crate::{
    audit::AuditEntry,
    clock::{Clock, SystemClock},
    decision::{Decision, Granted},
    domain::{
        Failure, FailureCode, FailureDetail, IdGenerator, IdempotencyKey, Money, NewOrder, Order,
        OrderId, OrderLine, OrderStatus, Product, ProductId, RequestedLine, ReturnId,
        RuleViolation, StockEntry, StockEntryKind,
    },
    error::Error,
    heartbeat::KnownWorker,
    keys::{Client, HashedKey},
    process::Attempt,
    queue::Topic,
    store::Selection,
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) products: BTreeMap<ProductId, Product>,
    pub(super) archived: BTreeMap<ProductId, Product>,
    pub(super) orders: BTreeMap<OrderId, Order>,
    pub(super) adjustments: Vec<(ProductId, i64)>,
    pub(super) returns: BTreeSet<ReturnId>,
    /// The changes of stock, in the order of making.
    pub(super) history: Vec<(ProductId, StockEntry)>,
    /// The request that a key was used for, and the id that it made.
    pub(super) used: BTreeMap<IdempotencyKey, (String, Uuid)>,
    pub(super) clients: Vec<Client>,
    pub(super) keys: Vec<HashedKey>,
    pub(super) log: Vec<AuditEntry>,
    pub(super) log_ids: IdGenerator,
    pub(super) entries: BTreeMap<(Topic, OrderId), QueueEntry>,
    pub(super) attempts: BTreeMap<(OrderId, u32), Attempt>,
    pub(super) workers: BTreeMap<Uuid, KnownWorker>,
    pub(super) paused: BTreeSet<Topic>,
    /// The times at which orders came, by the clock of the store.
    pub(super) stored: BTreeMap<OrderId, DateTime<Utc>>,
    /// The time by which the clock of the store was moved.
    pub(super) ahead: TimeDelta,
}

impl State {
    pub(super) fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + self.ahead
    }

    pub(super) fn pending_for(&self, id: OrderId) -> Duration {
        (self.now() - self.stored[&id]).to_std().unwrap()
    }

    /// The id that a request with this key made, when one did that asked for the same.
    pub(super) fn replay(
        &self,
        key: Option<&IdempotencyKey>,
        asked: &str,
    ) -> Result<Option<Uuid>, Error> {
        match key.and_then(|key| self.used.get(key)) {
            Some((before, made)) if before == asked => Ok(Some(*made)),
            Some(_) => Err(Error::IdempotencyKeyReused),
            None => Ok(None),
        }
    }

    pub(super) fn keep_key(&mut self, key: Option<&IdempotencyKey>, asked: String, made: Uuid) {
        if let Some(key) = key {
            self.used.insert(key.clone(), (asked, made));
        }
    }

    pub(super) fn sku_is_free(
        &self,
        sku: Option<&String>,
        but_for: ProductId,
    ) -> Result<(), Error> {
        let taken = sku.is_some()
            && self
                .products
                .values()
                .any(|product| product.id != but_for && product.sku.as_ref() == sku);
        if taken { Err(Error::SkuTaken) } else { Ok(()) }
    }

    pub(super) fn price(&self, order: &NewOrder) -> Result<Order, Error> {
        let mut lines = Vec::new();
        let mut total = 0_i128;
        for line in &order.lines {
            let product = self
                .products
                .get(&line.product_id)
                .ok_or(Error::ProductNotFound(line.product_id))?;
            total += i128::from(product.price.minor_units()) * i128::from(line.quantity.get());
            lines.push(OrderLine {
                product_id: line.product_id,
                quantity: line.quantity,
                unit_price: product.price,
                cancelled_quantity: 0,
            });
        }
        let is_limited = |line: &RequestedLine| {
            let product = &self.products[&line.product_id];
            product.terms.limit_per_customer.is_some()
        };
        let total = i64::try_from(total).map_err(|_| RuleViolation::TotalLimit)?;
        if order.customer.is_none() && order.lines.iter().any(is_limited) {
            let reason = "is missing: a product has a limit per customer";
            return Err(Error::invalid("customer", reason));
        }
        Ok(Order {
            id: order.id,
            status: OrderStatus::Pending,
            lines,
            total_price: Money::from_minor_units(total).unwrap(),
            reference: order.reference.clone(),
            customer: order.customer.clone(),
            hold_time: order.hold_time,
            client: order.client,
            trace_parent: order.trace_parent,
            failure: None,
            created_at: order.created_at,
            decided_at: None,
            held_at: None,
            held_until: None,
            confirmed_at: None,
            completed_at: None,
            cancelled_at: None,
        })
    }

    /// Takes the stock of all lines, one product at a time, and puts it back when one fails.
    pub(super) fn take(&mut self, order: &Order, at: DateTime<Utc>) -> Result<(), Failure> {
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
                detail: None,
            };
            let Some(product) = self.products.get(product_id) else {
                return Err(failure(FailureCode::ProductUnavailable, 0));
            };
            if let Some(detail) = self.refused_to(order, *product_id, *requested) {
                let code = match detail {
                    FailureDetail::Window { .. } => FailureCode::NotOnSale,
                    FailureDetail::Limit { .. } => FailureCode::CustomerLimit,
                };
                return Err(Failure {
                    detail: Some(detail),
                    ..failure(code, product.stock)
                });
            }
            if product.stock < *requested {
                return Err(failure(FailureCode::InsufficientStock, product.stock));
            }
        }
        let taken = wanted.iter().copied().collect();
        for (product_id, requested) in wanted {
            let product = self.products.get_mut(&product_id).unwrap();
            product.stock -= requested;
            product.updated_at = at;
        }
        let sold_at = order.decided_at.unwrap_or(at);
        let kind = match order.hold_time {
            Some(_) => StockEntryKind::Hold,
            None => StockEntryKind::Sale,
        };
        self.enter(order.id.0, order.id, kind, &taken, sold_at);
        Ok(())
    }

    /// Why a product is not sold to the customer of an order, whatever there is of it.
    fn refused_to(&self, order: &Order, id: ProductId, requested: i64) -> Option<FailureDetail> {
        let (now, terms) = (self.now(), self.products[&id].terms);
        let (on_sale_from, on_sale_until) = (terms.on_sale_from, terms.on_sale_until);
        if on_sale_from.is_some_and(|from| now < from)
            || on_sale_until.is_some_and(|until| until <= now)
        {
            return Some(FailureDetail::Window {
                on_sale_from,
                on_sale_until,
            });
        }
        let limit = terms.limit_per_customer?;
        let is_lapsed =
            |order: &Order| order.status == OrderStatus::Held && order.held_until.unwrap() <= now;
        let (mut has, mut held_order) = (0, None);
        let own = self.orders.values().filter(|other| {
            order.customer.is_some()
                && other.customer == order.customer
                && other.status.holds_stock()
                && !is_lapsed(other)
        });
        for other in own {
            let lines = other.lines.iter().filter(|line| line.product_id == id);
            let pieces: i64 = lines.map(OrderLine::kept).sum();
            has += pieces;
            if pieces > 0 && other.status == OrderStatus::Held {
                held_order = Some(other.id);
            }
        }
        let is_over = order.customer.is_none() || has + requested > limit;
        is_over.then_some(FailureDetail::Limit {
            limit,
            has,
            held_order,
        })
    }

    /// A batch counts as one change of each product whose stock it changed.
    pub(super) fn bump_versions(&mut self, before: &BTreeMap<ProductId, i64>) {
        for product in self.products.values_mut() {
            if before.get(&product.id).is_some_and(|s| *s != product.stock) {
                product.version += 1;
            }
        }
    }

    pub(super) fn stocks(&self) -> BTreeMap<ProductId, i64> {
        let products = self.products.values().chain(self.archived.values());
        products.map(|p| (p.id, p.stock)).collect()
    }

    pub(super) fn versions(&self) -> BTreeMap<ProductId, i64> {
        let products = self.products.values();
        products.map(|p| (p.id, p.version)).collect()
    }

    /// The products that are at another version than they were `before`.
    pub(super) fn changed_since(&self, before: &BTreeMap<ProductId, i64>) -> Vec<Product> {
        let products = self.products.values();
        products
            .filter(|p| {
                before
                    .get(&p.id)
                    .is_some_and(|version| *version != p.version)
            })
            .cloned()
            .collect()
    }

    pub(super) fn accept(&mut self, order: &NewOrder) -> Result<Order, Error> {
        if let Some(stored) = self.orders.get(&order.id) {
            return Ok(stored.clone());
        }
        let asked = asked("accept", order);
        if let Some(made) = self.replay(order.key.as_ref(), &asked)? {
            return Ok(unsettled(self.orders[&OrderId(made)].clone()));
        }
        let accepted = self.price(order)?;
        self.keep_key(order.key.as_ref(), asked, order.id.0);
        self.orders.insert(order.id, accepted.clone());
        self.stored.insert(order.id, self.now());
        Ok(accepted)
    }

    pub(super) fn purchase(&mut self, orders: &[NewOrder]) -> Vec<Result<Order, Error>> {
        let at = orders.iter().map(|order| order.created_at).max();
        let lines = orders.iter().flat_map(|order| &order.lines);
        let wanted = lines.map(|line| (line.product_id, line.quantity.get()));
        self.reclaim(wanted, at.unwrap_or_default());
        let before = self.stocks();
        let results = orders
            .iter()
            .map(|order| {
                if let Some(stored) = self.orders.get(&order.id) {
                    return Ok(stored.clone());
                }
                let asked = asked("purchase", order);
                if let Some(made) = self.replay(order.key.as_ref(), &asked)? {
                    let stored = self.orders[&OrderId(made)].clone();
                    let (created_at, held_at) = (stored.created_at, stored.held_at);
                    let placed = unsettled(stored);
                    return Ok(granted(placed, created_at, held_at.unwrap_or_default()));
                }
                let placed = self.price(order)?;
                self.take(&placed, at.unwrap_or_default())?;
                self.keep_key(order.key.as_ref(), asked, order.id.0);
                let placed = granted(placed, order.created_at, self.now());
                self.orders.insert(order.id, placed.clone());
                if placed.status == OrderStatus::Success {
                    self.sold(order.id);
                }
                Ok(placed)
            })
            .collect();
        self.bump_versions(&before);
        results
    }

    pub(super) fn decide(
        &mut self,
        ids: &[OrderId],
        at: DateTime<Utc>,
    ) -> Vec<(OrderId, Decision)> {
        let lines = ids.iter().flat_map(|id| self.orders[id].lines.clone());
        let wanted: Vec<_> = lines.map(|l| (l.product_id, l.quantity.get())).collect();
        self.reclaim(wanted.into_iter(), at);
        let before = self.stocks();
        let decisions = ids
            .iter()
            .map(|id| {
                let order = self.orders[id].clone();
                let taken = self.take(&order, at);
                let order = match taken {
                    Ok(()) => granted(order, at, self.now()),
                    Err(failure) => Order {
                        status: OrderStatus::Failed,
                        failure: Some(failure),
                        decided_at: Some(at),
                        ..order
                    },
                };
                let decision = taken.map(|()| match order.held_until {
                    None => Granted::Sold,
                    Some(until) => Granted::Held { until },
                });
                if order.status == OrderStatus::Success {
                    self.sold(*id);
                }
                self.orders.insert(*id, order);
                (*id, decision)
            })
            .collect();
        self.bump_versions(&before);
        decisions
    }

    pub(super) fn pending(&self, pick: Selection<'_>) -> Vec<OrderId> {
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

    /// A product, archived or not.
    pub(super) fn product_mut(&mut self, id: ProductId) -> &mut Product {
        match self.products.get_mut(&id) {
            Some(product) => product,
            None => self.archived.get_mut(&id).unwrap(),
        }
    }

    pub(super) fn sold(&mut self, id: OrderId) {
        let now = self.now();
        let entry = self.entries.entry((Topic::Process, id));
        entry.or_insert_with(|| QueueEntry::due(now));
    }
}

/// The order as if nothing had become of it yet.
fn unsettled(order: Order) -> Order {
    let mut lines = order.lines;
    for line in &mut lines {
        line.cancelled_quantity = 0;
    }
    let prices = lines
        .iter()
        .map(|line| line.unit_price.minor_units() * line.quantity.get());
    let total = prices.sum();
    Order {
        status: OrderStatus::Pending,
        failure: None,
        decided_at: None,
        held_at: None,
        held_until: None,
        confirmed_at: None,
        completed_at: None,
        cancelled_at: None,
        total_price: Money::from_minor_units(total).unwrap(),
        lines,
        ..order
    }
}

/// What is asked for, as a text that is the same for the same request.
fn asked(mode: &str, order: &NewOrder) -> String {
    let (lines, reference) = (&order.lines, &order.reference);
    let (hold_time, customer) = (order.hold_time, &order.customer);
    format!("{mode} {lines:?} {reference:?} {hold_time:?} {customer:?}")
}

fn granted(mut order: Order, at: DateTime<Utc>, now: DateTime<Utc>) -> Order {
    order.decided_at = Some(at);
    order.status = OrderStatus::Success;
    if let Some(hold_time) = order.hold_time {
        order.status = OrderStatus::Held;
        order.held_at = Some(now);
        order.held_until = Some(now + TimeDelta::seconds(i64::from(hold_time.seconds())));
    }
    order
}
