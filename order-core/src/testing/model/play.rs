//! A history, played step by step on a store and on the reference store.

use std::{fmt::Debug, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::steps::{Placed, Step, Update};
use crate::{
    clock::{Clock, ManualClock},
    decision::Granted,
    domain::{
        AdjustmentId, HoldTime, IdGenerator, IdempotencyKey, Money, NewOrder, NewProduct, Order,
        OrderId, OrderRequest, OrderReturn, Page, PageRequest, PageSize, PageStart, Product,
        ProductChange, ProductId, ProductRequest, Quantity, RequestedLine, ReturnId, ReturnRequest,
        SaleTerms, Sort, StockEntry, StockEntryId, StockRequest,
    },
    error::Error,
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskStore},
    stats::StatsStore,
    store::{
        Cancelled, Decided, Expired, OrderQuery, OrderStore, Outcome, ProductQuery, ProductStore,
        Purchase, Selection, Store, Strategy,
    },
    testing::{ReferenceStore, conformance::Time},
};

/// One history, as it is played on both stores.
pub(super) struct Play {
    store: Arc<dyn Store>,
    time: Arc<dyn Time>,
    reference: ReferenceStore,
    clock: ManualClock,
    ids: IdGenerator,
    products: Vec<ProductId>,
    orders: Vec<OrderId>,
}

impl Play {
    pub(super) fn new(store: Arc<dyn Store>, time: Arc<dyn Time>) -> Self {
        Self {
            store,
            time,
            reference: ReferenceStore::default(),
            clock: ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()),
            ids: IdGenerator::default(),
            products: Vec::new(),
            orders: Vec::new(),
        }
    }

    pub(super) async fn all(&mut self, steps: &[Step]) -> Result<(), String> {
        for (number, step) in steps.iter().enumerate() {
            self.clock.advance(TimeDelta::milliseconds(7));
            self.one(step)
                .await
                .and(self.same_state().await)
                .map_err(|difference| format!("step {number}, {step:?}: {difference}"))?;
        }
        self.same_histories().await
    }

    async fn one(&mut self, step: &Step) -> Result<(), String> {
        let at = self.clock.now();
        match step {
            Step::Create {
                stock,
                price,
                sku,
                limit,
            } => {
                let product = self.new_product((*stock, *price), *sku, *limit, at);
                same(
                    self.store.create_product(&product).await,
                    self.reference.create_product(&product).await,
                )
            }
            Step::Update(update) => self.update(update, at).await,
            Step::Adjust {
                product,
                delta,
                key,
            } => self.adjust(*product, *delta, *key, at).await,
            Step::Archive { product } => {
                let id = self.product(*product);
                same(
                    self.store.archive_product(id, &[], at).await,
                    self.reference.archive_product(id, &[], at).await,
                )
            }
            Step::Accept { orders } => {
                let orders = self.new_orders(orders, at);
                same(
                    self.store.accept(&orders).await,
                    self.reference.accept(&orders).await,
                )
            }
            Step::Purchase { orders, strategy } => {
                let orders = self.new_orders(orders, at);
                same(
                    self.store.purchase(&orders, *strategy).await.map(bought),
                    self.reference
                        .purchase(&orders, *strategy)
                        .await
                        .map(bought),
                )
            }
            Step::Decide { oldest, strategy } => {
                self.decide(Selection::Oldest(*oldest), *strategy, at).await
            }
            Step::DecideThese { orders, strategy } => {
                let mut ids: Vec<OrderId> = orders.iter().map(|n| self.order(*n)).collect();
                ids.sort_unstable();
                ids.dedup();
                self.decide(Selection::ByIds(&ids), *strategy, at).await
            }
            Step::Cancel { order, key } => {
                let (id, key) = (self.order(*order), key.map(key_named));
                let key = key.as_ref();
                same(
                    self.store.cancel(id, at, key).await.map(restocked),
                    self.reference.cancel(id, at, key).await.map(restocked),
                )
            }
            _ => self.afterwards(step, at).await,
        }
    }

    /// What is done with orders that were placed, and how time goes by.
    async fn afterwards(&mut self, step: &Step, at: DateTime<Utc>) -> Result<(), String> {
        match step {
            Step::GiveBack { order, lines, key } => {
                let returned = self.new_return(*order, lines, *key, at);
                same(
                    self.store.give_back(&returned).await.map(restocked),
                    self.reference.give_back(&returned).await.map(restocked),
                )
            }
            Step::DoTasks { most } => self.do_tasks(*most, at).await,
            Step::Confirm { orders } => {
                let mut ids: Vec<OrderId> = orders.iter().map(|n| self.order(*n)).collect();
                ids.sort_unstable();
                ids.dedup();
                same(
                    self.store.confirm(&ids, at).await.map(timeless),
                    self.reference.confirm(&ids, at).await.map(timeless),
                )
            }
            Step::Extend { order, seconds } => {
                let (id, hold_time) = (self.order(*order), HoldTime::new(*seconds).unwrap());
                let told = |result| timeless(vec![result]);
                let store = self.store.extend(id, hold_time).await;
                let reference = self.reference.extend(id, hold_time).await;
                same(Ok(told(store)), Ok(told(reference)))
            }
            Step::Expire => {
                let told = |expired: Expired| (expired.orders, by_id(expired.changed));
                same(
                    self.store.expire(None, 1_000, at).await.map(told),
                    self.reference.expire(None, 1_000, at).await.map(told),
                )
            }
            Step::Wait { seconds } => {
                let by = TimeDelta::seconds(*seconds);
                self.time.advance(by).await;
                self.reference.advance(by).await;
                Ok(())
            }
            other => Err(format!("{other:?} is done elsewhere")),
        }
    }

    fn new_product(
        &mut self,
        (stock, price): (i64, i64),
        sku: Option<u8>,
        limit: Option<i64>,
        at: DateTime<Utc>,
    ) -> NewProduct {
        let request = ProductRequest::new(
            format!("Product {}", self.products.len()),
            Money::from_minor_units(price).unwrap(),
            stock,
            sku.map(sku_text),
        );
        let id = ProductId(self.ids.next(at));
        self.products.push(id);
        let terms = SaleTerms {
            limit_per_customer: limit,
            ..SaleTerms::default()
        };
        request.unwrap().on_terms(terms).unwrap().into_new_product(
            id,
            AdjustmentId(self.ids.next(at)),
            at,
        )
    }

    async fn adjust(
        &self,
        product: usize,
        delta: i64,
        key: Option<u8>,
        at: DateTime<Utc>,
    ) -> Result<(), String> {
        let Ok(mut request) = StockRequest::new(delta, None) else {
            return Ok(());
        };
        if let Some(key) = key {
            request = request.with_key(key_named(key));
        }
        let id = AdjustmentId(self.ids.next(at));
        let adjustment = request.into_adjustment(id, self.product(product), at);
        same(
            self.store.adjust_stock(&adjustment).await,
            self.reference.adjust_stock(&adjustment).await,
        )
    }

    async fn update(&self, update: &Update, at: DateTime<Utc>) -> Result<(), String> {
        let mut change = ProductChange::default();
        if let Some(stock) = update.stock {
            change = change.stock(stock).unwrap();
        }
        if let Some(price) = update.price {
            change = change
                .price(Money::from_minor_units(price).unwrap())
                .unwrap();
        }
        if let Some(sku) = update.sku {
            change = change.sku(sku.map(sku_text)).unwrap();
        }
        if let Some(version) = update.expected_version {
            change = change.expect_version(version);
        }
        let (id, adjustment) = (
            self.product(update.product),
            AdjustmentId(self.ids.next(at)),
        );
        same(
            self.store.update_product(id, &change, adjustment, at).await,
            self.reference
                .update_product(id, &change, adjustment, at)
                .await,
        )
    }

    async fn decide(
        &self,
        pick: Selection<'_>,
        strategy: Strategy,
        at: DateTime<Utc>,
    ) -> Result<(), String> {
        same(
            self.store.decide(pick, strategy, at).await.map(decided),
            self.reference.decide(pick, strategy, at).await.map(decided),
        )
    }

    /// Compares everything that can be read.
    async fn same_state(&self) -> Result<(), String> {
        let all = PageSize::new(100).unwrap();
        let told = |page: Page<Order, OrderId>| {
            let orders = page.items.into_iter().map(without_time);
            (orders.collect::<Vec<_>>(), page.next, page.total)
        };
        for sort in Sort::ALL {
            let products = ProductQuery {
                sort,
                page: PageRequest {
                    size: all,
                    start: PageStart::Offset(0),
                },
                ..ProductQuery::default()
            };
            same(
                self.store.products(&products).await,
                self.reference.products(&products).await,
            )?;
            let orders = OrderQuery {
                sort,
                page: PageRequest {
                    size: all,
                    start: PageStart::Offset(0),
                },
                ..OrderQuery::default()
            };
            same(
                self.store.orders(&orders).await.map(told),
                self.reference.orders(&orders).await.map(told),
            )?;
        }
        let window = Duration::from_secs(600);
        if let Some(stats) = Arc::clone(&self.store).stats_store() {
            same(
                stats.counters(window).await.map(|counters| counters.totals),
                self.reference
                    .counters(window)
                    .await
                    .map(|counters| counters.totals),
            )?;
        }
        same(self.store.verify().await, Ok(Vec::new()))?;
        same(self.reference.verify().await, Ok(Vec::new()))
    }

    /// Compares what changed the stock of each product: the newest hundred changes, but for the ids
    /// of returns, which each store makes.
    async fn same_histories(&self) -> Result<(), String> {
        let page = PageRequest {
            size: PageSize::new(100).unwrap(),
            start: PageStart::First,
        };
        let brief = |page: Page<StockEntry, StockEntryId>| {
            let items = page.items.into_iter();
            let mut brief: Vec<_> = items.map(|e| (e.at, e.order_id, e.kind, e.delta)).collect();
            brief.sort_by_key(|(at, order, _, delta)| (*at, *order, *delta));
            // Of a longer one, the oldest are others when several were made at one time.
            (page.next.is_none()).then_some(brief)
        };
        for id in &self.products {
            same(
                self.store.stock_history(*id, &page).await.map(brief),
                self.reference.stock_history(*id, &page).await.map(brief),
            )?;
        }
        Ok(())
    }

    fn new_return(
        &self,
        order: usize,
        lines: &[(usize, i64)],
        key: Option<u8>,
        at: DateTime<Utc>,
    ) -> OrderReturn {
        let lines = lines.iter().map(|(product, quantity)| RequestedLine {
            product_id: self.product(*product),
            quantity: Quantity::new(*quantity).unwrap(),
        });
        let mut request = ReturnRequest::new(lines.collect()).unwrap();
        if let Some(key) = key {
            request = request.with_key(key_named(key));
        }
        request.into_return(ReturnId(self.ids.next(at)), self.order(order), at)
    }

    /// Claims the same tasks from both, and does the first of them.
    async fn do_tasks(&self, most: usize, at: DateTime<Utc>) -> Result<(), String> {
        let Some(tasks) = Arc::clone(&self.store).task_store() else {
            return Ok(());
        };
        let claimed = self.claim_all(&*tasks, at).await;
        let expected = self.claim_all(&self.reference, at).await;
        let brief = |claimed: &[Claimed]| {
            let brief = claimed
                .iter()
                .map(|c| (c.lease.order_id, c.kind, c.order.clone().map(without_time)));
            brief.collect::<Vec<_>>()
        };
        same(
            claimed
                .as_ref()
                .map(|claimed| brief(claimed))
                .map_err(Clone::clone),
            expected
                .as_ref()
                .map(|claimed| brief(claimed))
                .map_err(Clone::clone),
        )?;
        for (store, claimed) in [
            (&*tasks, claimed),
            (&self.reference as &dyn TaskStore, expected),
        ] {
            let ended = claimed.unwrap_or_default().into_iter().enumerate();
            let ended = ended.map(|(place, claimed)| {
                let outcome = match place < most {
                    true => AttemptOutcome::Done,
                    false => AttemptOutcome::NotBegun,
                };
                claimed.result(Uuid::nil(), Duration::ZERO, outcome)
            });
            let ended: Vec<AttemptResult> = ended.collect();
            if !ended.is_empty() {
                let ended = store.end_tasks(&ended, at).await;
                ended.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// All tasks that are due, by order: one claim may leave some for the next.
    async fn claim_all(
        &self,
        tasks: &dyn TaskStore,
        at: DateTime<Utc>,
    ) -> Result<Vec<Claimed>, Error> {
        let mut all = Vec::new();
        loop {
            let claim = Claim {
                id: self.ids.next(at),
                worker_id: Uuid::nil(),
                max: 1_000,
                ahead: 0,
                delay: Duration::ZERO,
                lease: Duration::from_secs(600),
            };
            let claimed = tasks.claim_tasks(&claim).await?;
            if claimed.is_empty() {
                all.sort_by_key(|claimed: &Claimed| claimed.lease.order_id);
                return Ok(all);
            }
            all.extend(claimed);
        }
    }

    fn new_orders(&mut self, orders: &[Placed], at: DateTime<Utc>) -> Vec<NewOrder> {
        orders
            .iter()
            .map(|(lines, key, hold, customer)| {
                let lines = lines
                    .iter()
                    .map(|(product, quantity)| RequestedLine {
                        product_id: self.product(*product),
                        quantity: Quantity::new(*quantity).unwrap(),
                    })
                    .collect();
                let id = OrderId(self.ids.next(at));
                self.orders.push(id);
                let hold_time = hold.map(|seconds| HoldTime::new(seconds).unwrap());
                let customer = customer.map(|n| format!("customer {n}"));
                let request = OrderRequest::new(lines, None).unwrap().held_for(hold_time);
                let mut request = request.for_customer(customer).unwrap();
                if let Some(key) = key {
                    request = request.with_key(key_named(*key));
                }
                request.into_new_order(id, at)
            })
            .collect()
    }

    fn product(&self, number: usize) -> ProductId {
        let known = self.products.get(number % (self.products.len() + 1));
        known.copied().unwrap_or(ProductId(Uuid::from_u128(7)))
    }

    fn order(&self, number: usize) -> OrderId {
        let known = self.orders.get(number % (self.orders.len() + 1));
        known.copied().unwrap_or(OrderId(Uuid::from_u128(7)))
    }
}

/// The order without the times that are those of its store's clock, as far as it has them.
fn without_time(order: Order) -> Order {
    Order {
        held_at: order.held_at.map(|_| DateTime::UNIX_EPOCH),
        held_until: order.held_until.map(|_| DateTime::UNIX_EPOCH),
        ..order
    }
}

fn without_time_of_error(error: Error) -> Error {
    match error {
        Error::HoldExpired { .. } => Error::HoldExpired {
            held_until: DateTime::UNIX_EPOCH,
        },
        error => error,
    }
}

type Told = Vec<Result<Option<Order>, Error>>;

fn timeless(results: Told) -> Told {
    let results = results.into_iter();
    results
        .map(|result| match result {
            Ok(order) => Ok(order.map(without_time)),
            Err(error) => Err(without_time_of_error(error)),
        })
        .collect()
}

fn bought(outcome: Outcome<Purchase>) -> (Vec<Purchase>, Vec<Product>) {
    let (results, changed) = sorted(outcome);
    let results = results.into_iter().map(|result| result.map(without_time));
    (results.collect(), changed)
}

fn decided(outcome: Outcome<Decided>) -> (Vec<Decided>, Vec<Product>) {
    let (results, changed) = sorted(outcome);
    let timeless = |granted| match granted {
        Granted::Held { .. } => Granted::Held {
            until: DateTime::UNIX_EPOCH,
        },
        Granted::Sold => Granted::Sold,
    };
    let results = results.into_iter();
    let results = results.map(|(id, decision)| (id, decision.map(timeless)));
    (results.collect(), changed)
}

/// Changed products come in any order.
fn sorted<T>(outcome: Outcome<T>) -> (Vec<T>, Vec<Product>) {
    (outcome.results, by_id(outcome.changed))
}

fn restocked(cancelled: Option<Cancelled>) -> Option<(Order, Vec<Product>, bool)> {
    cancelled.map(|cancelled| {
        let changed = by_id(cancelled.changed);
        (without_time(cancelled.order), changed, cancelled.replayed)
    })
}

fn by_id(mut products: Vec<Product>) -> Vec<Product> {
    products.sort_by_key(|product| product.id);
    products
}

fn key_named(n: u8) -> IdempotencyKey {
    IdempotencyKey::new(Uuid::nil(), format!("key-{n}")).unwrap()
}

fn sku_text(n: u8) -> String {
    format!("SKU-{n}")
}

/// Errors have no equality, and what they print is what a caller can tell apart.
fn same<T: Debug>(store: Result<T, Error>, reference: Result<T, Error>) -> Result<(), String> {
    let (store, reference) = (format!("{store:?}"), format!("{reference:?}"));
    if store == reference {
        Ok(())
    } else {
        Err(format!("\n     store: {store}\n reference: {reference}"))
    }
}
