//! A history, played step by step on a store and on the reference store.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    answers::{Timeless, equal, expired, restocked, same, sorted},
    steps::{Placed, Step, Update, after, sku_text},
};
use crate::{
    clock::{Clock, ManualClock},
    domain::{
        AdjustmentId, HoldTime, IdGenerator, IdempotencyKey, Money, NewOrder, NewProduct, OrderId,
        OrderRequest, OrderReturn, Page, PageRequest, PageSize, PageStart, ProductId,
        ProductRequest, Quantity, RequestedLine, ReturnId, ReturnRequest, SaleTerms, Sort,
        StockEntry, StockEntryId, StockRequest,
    },
    error::Error,
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskStore},
    stats::StatsStore,
    store::{OrderQuery, OrderStore, ProductQuery, ProductStore, Selection, Store, Strategy},
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
                window,
            } => {
                let terms = |now| SaleTerms {
                    limit_per_customer: *limit,
                    on_sale_from: window.0.map(|seconds| after(now, seconds)),
                    on_sale_until: window.1.map(|seconds| after(now, seconds)),
                };
                let [ours, theirs] = self.new_product((*stock, *price), *sku, terms, at);
                same(
                    self.store.create_product(&ours).await,
                    self.reference.create_product(&theirs).await,
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
                    self.store.purchase(&orders, *strategy).await.map(sorted),
                    self.reference
                        .purchase(&orders, *strategy)
                        .await
                        .map(sorted),
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
            _ => self.afterwards(step, at).await,
        }
    }

    /// What is done with orders that were placed, and how time goes by.
    async fn afterwards(&mut self, step: &Step, at: DateTime<Utc>) -> Result<(), String> {
        match step {
            Step::Cancel { order, key } => {
                let (id, key) = (self.order(*order), key.map(key_named));
                let key = key.as_ref();
                same(
                    self.store.cancel(id, at, key).await.map(restocked),
                    self.reference.cancel(id, at, key).await.map(restocked),
                )
            }
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
                    self.store.confirm(&ids, at).await,
                    self.reference.confirm(&ids, at).await,
                )
            }
            Step::Extend { order, seconds } => {
                let (id, hold_time) = (self.order(*order), HoldTime::new(*seconds).unwrap());
                same(
                    self.store.extend(id, hold_time).await,
                    self.reference.extend(id, hold_time).await,
                )
            }
            Step::Expire => same(
                self.store.expire(None, 1_000, at).await.map(expired),
                self.reference.expire(None, 1_000, at).await.map(expired),
            ),
            Step::Wait { seconds } => {
                let by = TimeDelta::seconds(*seconds);
                self.time.advance(by).await;
                self.reference.advance(by).await;
                Ok(())
            }
            other => Err(format!("{other:?} is done elsewhere")),
        }
    }

    /// The same product for both stores, each with the terms that it has by the clock of the store.
    fn new_product(
        &mut self,
        (stock, price): (i64, i64),
        sku: Option<u8>,
        terms: impl Fn(DateTime<Utc>) -> SaleTerms,
        at: DateTime<Utc>,
    ) -> [NewProduct; 2] {
        let name = format!("Product {}", self.products.len());
        let price = Money::from_minor_units(price).unwrap();
        let request = ProductRequest::new(name, price, stock, sku.map(sku_text)).unwrap();
        let (id, adjustment) = (ProductId(self.ids.next(at)), self.ids.next(at));
        self.products.push(id);
        [self.time.now(), self.reference.now()].map(|now| {
            let request = request.clone().on_terms(terms(now)).unwrap();
            request.into_new_product(id, AdjustmentId(adjustment), at)
        })
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
        let id = self.product(update.product);
        let adjustment = AdjustmentId(self.ids.next(at));
        let [ours, theirs] = [self.time.now(), self.reference.now()].map(|now| update.change(now));
        same(
            self.store.update_product(id, &ours, adjustment, at).await,
            self.reference
                .update_product(id, &theirs, adjustment, at)
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
            self.store.decide(pick, strategy, at).await.map(sorted),
            self.reference.decide(pick, strategy, at).await.map(sorted),
        )
    }

    /// Compares everything that can be read.
    async fn same_state(&self) -> Result<(), String> {
        let all = PageSize::new(100).unwrap();
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
                self.store.orders(&orders).await,
                self.reference.orders(&orders).await,
            )?;
        }
        let window = Duration::from_secs(600);
        if let Some(stats) = Arc::clone(&self.store).stats_store() {
            equal(
                &stats.counters(window).await.map(|counters| counters.totals),
                &self
                    .reference
                    .counters(window)
                    .await
                    .map(|counters| counters.totals),
            )?;
        }
        equal(&self.store.verify().await, &Ok(Vec::new()))?;
        equal(&self.reference.verify().await, &Ok(Vec::new()))
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
            equal(
                &self.store.stock_history(*id, &page).await.map(brief),
                &self.reference.stock_history(*id, &page).await.map(brief),
            )?;
            let sums = |page: Page<StockEntry, StockEntryId>| {
                let items = page.items.into_iter();
                let mut sums: Vec<_> = items.map(|e| (e.at, e.kind, e.delta, e.changes)).collect();
                sums.sort_by_key(|(at, kind, ..)| (*at, format!("{kind:?}")));
                sums
            };
            let store = self.store.stock_history_by_minute(*id, &page).await;
            let reference = self.reference.stock_history_by_minute(*id, &page).await;
            equal(&store.map(sums), &reference.map(sums))?;
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
                .map(|c| (c.lease.order_id, c.kind, c.order.clone().timeless()));
            brief.collect::<Vec<_>>()
        };
        let brief = |claimed: &Result<Vec<Claimed>, Error>| {
            let claimed = claimed.as_ref().map_err(Clone::clone);
            claimed.map(|claimed| brief(claimed))
        };
        equal(&brief(&claimed), &brief(&expected))?;
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

fn key_named(n: u8) -> IdempotencyKey {
    IdempotencyKey::new(Uuid::nil(), format!("key-{n}")).unwrap()
}
