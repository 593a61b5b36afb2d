//! Every store and queue that we ship, through the same suites.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use order_core::{
    Error, OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{
        HoldTime, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity,
        SaleTerms, StockRequest,
    },
    store::{OrderQuery, Store, Strategy, connect},
    testing::{
        PostgresServer, PostgresTime, ReferenceStore, SqliteTime,
        conformance::{self, Time},
        load::{Load, Shop, check, create_products, place_orders, wait_until_decided},
        model,
    },
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// A new file, which is migrated.
async fn sqlite_url() -> String {
    // Kept for the life of the process: the store has no say when its file may go.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    connect(&url).await.unwrap().migrate().await.unwrap();
    url
}

/// A store in a new file, and its time.
async fn sqlite_with_time() -> (Arc<dyn Store>, Arc<dyn Time>) {
    let url = sqlite_url().await;
    (
        connect(&url).await.unwrap(),
        Arc::new(SqliteTime::new(&url)),
    )
}

async fn postgres_with_time() -> (Arc<dyn Store>, Arc<dyn Time>) {
    let url = PostgresServer::shared().database().await;
    let store = connect(&url).await.unwrap();
    (store, Arc::new(PostgresTime::new(&url)))
}

async fn sqlite() -> Arc<dyn Store> {
    sqlite_with_time().await.0
}

/// Two stores with connections of their own on one database: as two processes have them.
async fn postgres_pair() -> [Arc<dyn Store>; 2] {
    pair(&PostgresServer::shared().database().await).await
}

async fn sqlite_pair() -> [Arc<dyn Store>; 2] {
    pair(&sqlite_url().await).await
}

async fn pair(url: &str) -> [Arc<dyn Store>; 2] {
    let (first, second) = tokio::join!(connect(url), connect(url));
    [first.unwrap(), second.unwrap()]
}

/// A service over each store, which refuses nobody for waiting.
fn services(stores: &[Arc<dyn Store>]) -> Vec<OrderService> {
    let service = |store: &Arc<dyn Store>| {
        let service = OrderService::builder(Arc::clone(store));
        service.max_wait(Duration::MAX).build()
    };
    stores.iter().map(service).collect()
}

#[tokio::test]
async fn the_reference_store_conforms() {
    conformance::store(async || {
        let reference = ReferenceStore::default();
        let store: Arc<dyn Store> = Arc::new(reference.clone());
        let time: Arc<dyn Time> = Arc::new(reference);
        (store, time)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    conformance::store(sqlite_with_time).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    conformance::store(postgres_with_time).await;
}

/// The number of random histories that the model plays, unless `MODEL_CASES` says another.
const MODEL_CASES: u32 = 32;

fn model_cases() -> u32 {
    let said = std::env::var("MODEL_CASES").ok();
    said.map_or(MODEL_CASES, |said| said.parse().unwrap())
}

#[test]
fn sqlite_plays_like_the_reference_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    model::behaves_like_the_reference_store(&runtime, model_cases(), sqlite_with_time);
}

#[test]
fn postgres_plays_like_the_reference_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    model::behaves_like_the_reference_store(&runtime, model_cases(), postgres_with_time);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_served_exactly_by_sqlite() {
    for strategy in Strategy::ALL {
        serve_a_load(&[sqlite().await], strategy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_served_exactly_by_postgres() {
    for strategy in Strategy::ALL {
        serve_a_load(&postgres_pair().await, strategy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lapses_is_sold_again_by_sqlite() {
    hold_while_stock_is_short(&sqlite_pair().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lapses_is_sold_again_by_postgres() {
    hold_while_stock_is_short(&postgres_pair().await).await;
}

/// The purchases of a sale whose stock is short, and the pieces that there are at any time;
/// `SOAK_PURCHASES` makes the sale longer.
fn size_of_short_sale() -> (usize, i64) {
    match std::env::var("SOAK_PURCHASES") {
        Ok(purchases) => (purchases.parse().unwrap(), 48),
        Err(_) => (120, 6),
    }
}

/// Tasks hold a piece for a second, and confirm, cancel or leave it, by turns. For each that is sold
/// another one is stocked, so that stock is always short: somebody wants each piece that comes back.
async fn hold_while_stock_is_short(stores: &[Arc<dyn Store>]) {
    let (purchases, pieces) = size_of_short_sale();
    let services = services(stores);
    let request = ProductRequest::new("p", "1.00".parse().unwrap(), pieces, None).unwrap();
    let product = services[0].create_product(request).await.unwrap().id;
    let turns = Arc::new(AtomicUsize::new(0));
    let mut all = JoinSet::new();
    for number in 0..64 {
        let service = services[number % services.len()].clone();
        let turns = Arc::clone(&turns);
        all.spawn(async move { hold_pieces(&service, product, &turns, purchases).await });
    }
    let (mut held, mut refused) = (Vec::new(), Vec::new());
    for (own, refusals) in all.join_all().await {
        held.extend(own);
        refused.extend(refusals);
    }
    nothing_stays_held(&services[0]).await;
    let (mut early, mut late, mut ends) = (Vec::new(), Vec::new(), [0; 3]);
    for held in held {
        let order = services[0].order(held.order).await.unwrap().unwrap();
        let (end, back, told) = match order.status {
            OrderStatus::Expired => (0, order.held_until, order.held_until),
            OrderStatus::Cancelled => (1, order.cancelled_at, Some(held.ended_at)),
            _ => (2, held.stocked_at, Some(held.ended_at)),
        };
        assert_eq!(end == 2, order.confirmed_at.is_some(), "{order:?}");
        ends[end] += 1;
        let taken = (order.held_at.unwrap(), 1);
        early.extend([taken, (back.unwrap(), -1)]);
        late.extend([taken, (told.unwrap(), -1)]);
    }
    let third = purchases / 3;
    assert!(ends.iter().all(|end| end * 2 > third), "{ends:?}");
    never_more_than(pieces, early);
    eprintln!(
        "{ends:?} expired, cancelled and sold; {} refused",
        refused.len()
    );
    assert!(refused.len() > purchases, "stock was not short");
    nobody_was_refused_for_nothing(pieces, late, &refused);
    assert_eq!(stores[0].verify().await.unwrap(), [], "the books balance");
}

/// An order that was held.
struct Held {
    order: OrderId,
    /// The time at which a piece was stocked for it, if it was sold.
    stocked_at: Option<DateTime<Utc>>,
    /// The time by which what became of it was answered.
    ended_at: DateTime<Utc>,
}

/// When a purchase that was refused began, and when it was answered.
type Refusal = (DateTime<Utc>, DateTime<Utc>);

type History = Vec<(DateTime<Utc>, i64)>;

/// Holds pieces until so many have been held in all.
async fn hold_pieces(
    service: &OrderService,
    product: ProductId,
    turns: &AtomicUsize,
    purchases: usize,
) -> (Vec<Held>, Vec<Refusal>) {
    let (mut all, mut refused) = (Vec::new(), Vec::new());
    while turns.load(Ordering::Relaxed) < purchases {
        let request = OrderRequest::one(product, Quantity::new(1).unwrap());
        let request = request.held_for(HoldTime::new(1).ok());
        let began = SystemClock.now();
        let order = match service.purchase(request).await {
            Ok(order) => order.id,
            Err(Error::InsufficientStock { .. }) => {
                refused.push((began, SystemClock.now()));
                continue;
            }
            Err(error) => panic!("{error:?}"),
        };
        let mut stocked_at = None;
        let ended = match turns.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => service.confirm(order).await,
            1 => service.cancel(order).await,
            _ => Ok(None),
        };
        match ended {
            Ok(Some(sold)) if sold.confirmed_at.is_some() => {
                let one = StockRequest::new(1, None).unwrap();
                let stocked = service.adjust_stock(product, one).await.unwrap();
                stocked_at = stocked.map(|product| product.updated_at);
            }
            Ok(_) => {}
            // On a machine that is busy, a second may be over.
            Err(Error::HoldExpired { .. } | Error::OrderState { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        all.push(Held {
            order,
            stocked_at,
            ended_at: SystemClock.now(),
        });
    }
    (all, refused)
}

/// What is left lapses, and the services expire it.
async fn nothing_stays_held(service: &OrderService) {
    let limit = Instant::now() + Duration::from_secs(20);
    let held = OrderQuery {
        status: Some(OrderStatus::Held),
        ..OrderQuery::default()
    };
    while !service.orders(&held).await.unwrap().items.is_empty() {
        assert!(Instant::now() < limit, "something stays held");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// At no moment was more held or sold than there was. What came back did so at the time that is stored,
/// which is a little before it could be bought again.
fn never_more_than(pieces: i64, mut history: History) {
    // At the same moment, what comes back comes first.
    history.sort_unstable();
    let mut taken = 0;
    for (at, more) in history {
        taken += more;
        assert!(taken <= pieces, "{taken} of {pieces} at {at}");
    }
    assert_eq!(taken, 0, "everything came back, or was stocked again");
}

/// Who asked when a piece had been free for a second was not refused while it was. What came back did
/// so when that was answered, or when its time was over.
fn nobody_was_refused_for_nothing(pieces: i64, mut history: History, refused: &[Refusal]) {
    history.sort_unstable();
    let (mut taken, mut free, mut since) = (0, Vec::new(), Some(history[0].0));
    for (at, more) in history {
        taken += more;
        if taken < pieces {
            since.get_or_insert(at);
        } else if let Some(since) = since.take() {
            free.push((since, at));
        }
    }
    for (began, answered) in refused {
        let at = free.partition_point(|(since, _)| since <= began);
        let Some((since, until)) = at.checked_sub(1).map(|at| free[at]) else {
            continue;
        };
        let is_wrong = *began - since > TimeDelta::seconds(1) && *answered < until;
        assert!(
            !is_wrong,
            "free from {since} until {until}, refused from {began} on"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_for_each_customer_on_sqlite() {
    keep_to_a_limit(&sqlite_pair().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_for_each_customer_on_postgres() {
    keep_to_a_limit(&postgres_pair().await).await;
}

/// Each customer tries at once, and gets what one may have; what one cancels, one may have again.
async fn keep_to_a_limit(stores: &[Arc<dyn Store>]) {
    let (limit, customers) = (2, 500);
    let services = services(stores);
    let terms = SaleTerms {
        limit_per_customer: Some(limit),
        ..SaleTerms::default()
    };
    let request = ProductRequest::new("p", "1.00".parse().unwrap(), 100_000, None);
    let request = request.unwrap().on_terms(terms).unwrap();
    let product = services[0].create_product(request).await.unwrap().id;
    let one = |customer: usize| {
        let request = OrderRequest::one(product, Quantity::new(1).unwrap());
        request.for_customer(Some(customer.to_string())).unwrap()
    };
    let mut sold: Vec<(usize, OrderId)> = Vec::new();
    // At first as many through each service as one may have: each could sell all that it sees.
    for tries in [0..4, 4..20] {
        let mut all = JoinSet::new();
        for number in tries {
            for customer in 0..customers {
                let service = services[number % services.len()].clone();
                let request = one(customer);
                all.spawn(async move {
                    match service.purchase(request).await {
                        Ok(order) => Some((customer, order.id)),
                        Err(Error::CustomerLimit { .. }) => None,
                        Err(error) => panic!("{error:?}"),
                    }
                });
            }
        }
        sold.extend(all.join_all().await.into_iter().flatten());
    }
    for customer in 0..customers {
        let has = sold.iter().filter(|(of, _)| *of == customer).count();
        assert_eq!(has, 2, "customer {customer}");
    }
    let (customer, returned) = sold[0];
    services[0].cancel(returned).await.unwrap();
    assert!(services[0].purchase(one(customer)).await.is_ok());
    let again = services[0].purchase(one(customer)).await;
    assert!(matches!(again, Err(Error::CustomerLimit { has: 2, .. })));
    assert_eq!(stores[0].verify().await.unwrap(), [], "the books balance");
}

async fn serve_a_load(stores: &[Arc<dyn Store>], strategy: Strategy) {
    let load = Load::STANDARD;
    let services: Vec<OrderService> = stores
        .iter()
        .map(|store| {
            OrderService::builder(Arc::clone(store))
                .strategy(strategy)
                // Every order is served, however long that takes.
                .max_wait(Duration::MAX)
                .build()
        })
        .collect();
    let products = create_products(&services[0], load).await;
    let stop = CancellationToken::new();
    let workers: Vec<_> = services
        .iter()
        .map(|service| {
            let options = WorkerOptions::default().with_strategy(strategy);
            let (worker, stop) = (service.worker(options), stop.clone());
            tokio::spawn(async move { worker.run(stop).await })
        })
        .collect();
    let shops: Vec<Arc<dyn Shop>> = services
        .iter()
        .map(|service| Arc::new(service.clone()) as Arc<dyn Shop>)
        .collect();
    let told = place_orders(&shops, &products, load).await;
    wait_until_decided(&stores[0], Duration::from_secs(60)).await;
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    check(&stores[0], &products, load, &told).await;
}
