//! The model test: random histories, played step by step on a store and on its [`Twin`],
//! which must give the same answers and be left in the same state after each step.

use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    strategy::Strategy as _,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use super::Twin;
use crate::{
    clock::{Clock, ManualClock},
    domain::{
        AdjustmentId, IdGenerator, IdempotencyKey, MAX_STOCK, Money, NewOrder, NewProduct, Order,
        OrderId, OrderRequest, PageRequest, PageSize, PageStart, Product, ProductChange, ProductId,
        ProductRequest, Quantity, RequestedLine, StockRequest,
    },
    error::Error,
    stats::StatsStore,
    store::{
        Cancelled, OrderQuery, OrderStore, Outcome, ProductQuery, ProductStore, Selection, Store,
        Strategy,
    },
};

/// One step of a history. Products and orders are named by their number in the order of
/// making, modulo how many there are; one number names what never was.
#[derive(Clone, Debug)]
enum Step {
    Create {
        stock: i64,
        price: i64,
        sku: Option<u8>,
    },
    Update(Update),
    Adjust {
        product: usize,
        delta: i64,
        key: Option<u8>,
    },
    Archive {
        product: usize,
    },
    Accept {
        orders: Vec<Placed>,
    },
    Purchase {
        orders: Vec<Placed>,
        strategy: Strategy,
    },
    Decide {
        oldest: usize,
        strategy: Strategy,
    },
    DecideThese {
        orders: Vec<usize>,
        strategy: Strategy,
    },
    Cancel {
        order: usize,
        key: Option<u8>,
    },
}

#[derive(Clone, Debug)]
struct Update {
    product: usize,
    stock: Option<i64>,
    price: Option<i64>,
    sku: Option<Option<u8>>,
    expected_version: Option<i64>,
}

/// `(product, quantity)` of each line, and a key.
type Placed = (Vec<(usize, i64)>, Option<u8>);

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let product = || 0_usize..6;
    let order = || 0_usize..40;
    let strategy = || select(&Strategy::ALL[..]);
    let lines = || vec((product(), 1_i64..6), 1..5);
    // Keys that come often, and often with the same order.
    let key = || 0_u8..4;
    let placed = prop_oneof![
        6 => lines().prop_map(|lines| (lines, None)),
        2 => key().prop_map(|key| (vec![(usize::from(key), 1)], Some(key))),
        1 => (lines(), key()).prop_map(|(lines, key)| (lines, Some(key))),
    ];
    let orders = || vec(placed.clone(), 1..8);
    let stock = || prop_oneof![9 => 0_i64..25, 1 => Just(MAX_STOCK)];
    let sku = || option::weighted(0.4, 0_u8..3);
    let step = prop_oneof![
        2 => (stock(), 0_i64..1_000, sku())
            .prop_map(|(stock, price, sku)| Step::Create { stock, price, sku }),
        2 => (product(), option::of(stock()), option::of(0_i64..1_000), option::of(sku()),
              option::weighted(0.3, 1_i64..4))
            .prop_map(|(product, stock, price, sku, expected_version)| Step::Update(Update {
                product, stock, price, sku, expected_version,
            })),
        2 => (product(), -20_i64..20)
            .prop_map(|(product, delta)| Step::Adjust { product, delta, key: None }),
        1 => (0_usize..2, 1_i64..3, key())
            .prop_map(|(product, delta, key)| Step::Adjust { product, delta, key: Some(key) }),
        1 => product().prop_map(|product| Step::Archive { product }),
        4 => orders().prop_map(|orders| Step::Accept { orders }),
        4 => (orders(), strategy())
            .prop_map(|(orders, strategy)| Step::Purchase { orders, strategy }),
        3 => (1_usize..12, strategy())
            .prop_map(|(oldest, strategy)| Step::Decide { oldest, strategy }),
        1 => (vec(order(), 1..6), strategy())
            .prop_map(|(orders, strategy)| Step::DecideThese { orders, strategy }),
        3 => (order(), option::weighted(0.3, key()))
            .prop_map(|(order, key)| Step::Cancel { order, key }),
    ];
    vec(step, 1..40)
}

/// Plays `cases` random histories, each on a new empty store that `fresh` makes.
///
/// # Panics
/// When a store and its twin differ: with the shortest history found that makes them.
pub fn plays_like_its_twin<F, Fut>(runtime: &tokio::runtime::Runtime, cases: u32, fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        runtime
            .block_on(async { Play::new(fresh().await).all(&steps).await })
            .map_err(TestCaseError::fail)
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
}

struct Play {
    store: Arc<dyn Store>,
    twin: Twin,
    clock: ManualClock,
    ids: IdGenerator,
    products: Vec<ProductId>,
    orders: Vec<OrderId>,
}

impl Play {
    fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            twin: Twin::default(),
            clock: ManualClock::new(DateTime::from_timestamp(1_800_000_000, 0).unwrap()),
            ids: IdGenerator::default(),
            products: Vec::new(),
            orders: Vec::new(),
        }
    }

    async fn all(&mut self, steps: &[Step]) -> Result<(), String> {
        for (number, step) in steps.iter().enumerate() {
            self.clock.advance(TimeDelta::milliseconds(7));
            self.one(step)
                .await
                .and(self.same_state().await)
                .map_err(|difference| format!("step {number}, {step:?}: {difference}"))?;
        }
        Ok(())
    }

    async fn one(&mut self, step: &Step) -> Result<(), String> {
        let at = self.clock.now();
        match step {
            Step::Create { stock, price, sku } => {
                let product = self.new_product(*stock, *price, *sku, at);
                same(
                    self.store.create_product(&product).await,
                    self.twin.create_product(&product).await,
                )
            }
            Step::Update(update) => self.update(update, at).await,
            Step::Adjust {
                product,
                delta,
                key,
            } => {
                let Ok(mut request) = StockRequest::new(*delta, None) else {
                    return Ok(());
                };
                if let Some(key) = key {
                    request = request.with_key(key_named(*key));
                }
                let id = AdjustmentId(self.ids.next(at));
                let adjustment = request.stamp(id, self.product(*product), at);
                same(
                    self.store.adjust_stock(&adjustment).await,
                    self.twin.adjust_stock(&adjustment).await,
                )
            }
            Step::Archive { product } => {
                let id = self.product(*product);
                same(
                    self.store.archive_product(id, at).await,
                    self.twin.archive_product(id, at).await,
                )
            }
            Step::Accept { orders } => {
                let orders = self.stamp(orders, at);
                same(
                    self.store.accept(&orders).await,
                    self.twin.accept(&orders).await,
                )
            }
            Step::Purchase { orders, strategy } => {
                let orders = self.stamp(orders, at);
                same(
                    self.store.purchase(&orders, *strategy).await.map(sorted),
                    self.twin.purchase(&orders, *strategy).await.map(sorted),
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
                    self.twin.cancel(id, at, key).await.map(restocked),
                )
            }
        }
    }

    fn new_product(
        &mut self,
        stock: i64,
        price: i64,
        sku: Option<u8>,
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
        request
            .unwrap()
            .stamp(id, AdjustmentId(self.ids.next(at)), at)
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
            self.twin.update_product(id, &change, adjustment, at).await,
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
            self.twin.decide(pick, strategy, at).await.map(sorted),
        )
    }

    /// Compares everything that can be read.
    async fn same_state(&self) -> Result<(), String> {
        let all = PageSize::new(100).unwrap();
        let products = ProductQuery {
            search: None,
            page: PageRequest {
                size: all,
                start: PageStart::Offset(0),
            },
        };
        same(
            self.store.products(&products).await,
            self.twin.products(&products).await,
        )?;
        let orders = OrderQuery {
            page: PageRequest {
                size: all,
                start: PageStart::Offset(0),
            },
            ..OrderQuery::default()
        };
        same(
            self.store.orders(&orders).await,
            self.twin.orders(&orders).await,
        )?;
        let window = Duration::from_secs(600);
        same(
            self.store.tallies(window).await.map(|told| told.totals),
            self.twin.tallies(window).await.map(|told| told.totals),
        )?;
        same(self.store.verify().await, Ok(Vec::new()))?;
        same(self.twin.verify().await, Ok(Vec::new()))
    }

    fn stamp(&mut self, orders: &[Placed], at: DateTime<Utc>) -> Vec<NewOrder> {
        orders
            .iter()
            .map(|(lines, key)| {
                let lines = lines
                    .iter()
                    .map(|(product, quantity)| RequestedLine {
                        product_id: self.product(*product),
                        quantity: Quantity::new(*quantity).unwrap(),
                    })
                    .collect();
                let id = OrderId(self.ids.next(at));
                self.orders.push(id);
                let mut request = OrderRequest::new(lines, None).unwrap();
                if let Some(key) = key {
                    request = request.with_key(key_named(*key));
                }
                request.stamp(id, at)
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

/// Changed products come in any order.
fn sorted<T>(outcome: Outcome<T>) -> (Vec<T>, Vec<Product>) {
    (outcome.results, by_id(outcome.changed))
}

fn restocked(cancelled: Option<Cancelled>) -> Option<(Order, Vec<Product>, bool)> {
    cancelled.map(|cancelled| {
        let changed = by_id(cancelled.changed);
        (cancelled.order, changed, cancelled.replayed)
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
fn same<T: Debug>(store: Result<T, Error>, twin: Result<T, Error>) -> Result<(), String> {
    let (store, twin) = (format!("{store:?}"), format!("{twin:?}"));
    if store == twin {
        Ok(())
    } else {
        Err(format!("\n store: {store}\n  twin: {twin}"))
    }
}
