//! Every store and queue that we ship, through the same suites.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use order_core::{
    Error, OrderService, WorkerOptions,
    domain::{
        HoldTime, Order, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity,
        SaleTerms,
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

#[test]
fn sqlite_plays_like_the_reference_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    model::behaves_like_the_reference_store(&runtime, 64, sqlite_with_time);
}

#[test]
fn postgres_plays_like_the_reference_store() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    model::behaves_like_the_reference_store(&runtime, 64, postgres_with_time);
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
    hold_until_all_is_sold(&[sqlite().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lapses_is_sold_again_by_postgres() {
    hold_until_all_is_sold(&postgres_pair().await).await;
}

/// Tasks hold a piece for a second, and confirm, cancel or leave it, by turns, until all is sold.
async fn hold_until_all_is_sold(stores: &[Arc<dyn Store>]) {
    let (pieces, tasks) = (120, 32);
    let services = services(stores);
    let request = ProductRequest::new("p", "1.00".parse().unwrap(), pieces, None).unwrap();
    let product = services[0].create_product(request).await.unwrap().id;
    let mut all = JoinSet::new();
    for number in 0..tasks {
        let service = services[number % services.len()].clone();
        all.spawn(async move { hold_pieces(&service, product, number).await });
    }
    let placed: Vec<OrderId> = all.join_all().await.into_iter().flatten().collect();
    let mut orders = Vec::with_capacity(placed.len());
    for id in placed {
        orders.push(services[0].order(id).await.unwrap().unwrap());
    }
    let sold = orders.iter().filter(|order| order.confirmed_at.is_some());
    assert_eq!(sold.count(), usize::try_from(pieces).unwrap());
    let ended = |order: &&Order| order.status == OrderStatus::Expired;
    assert!(orders.iter().filter(ended).count() > 20, "little lapsed");
    never_more_than(pieces, &orders);
    assert_eq!(stores[0].verify().await.unwrap(), [], "the books balance");
}

/// Until all is sold, and nothing is held that might come back.
async fn hold_pieces(service: &OrderService, product: ProductId, number: usize) -> Vec<OrderId> {
    let (mut placed, mut turn) = (Vec::new(), number);
    let limit = Instant::now() + Duration::from_secs(60);
    let hold = || {
        let request = OrderRequest::one(product, Quantity::new(1).unwrap());
        request.held_for(HoldTime::new(1).ok())
    };
    loop {
        assert!(Instant::now() < limit, "not all is sold");
        match service.purchase(hold()).await {
            Ok(order) => {
                placed.push(order.id);
                turn += 1;
                let ended = match turn % 3 {
                    0 => service.confirm(order.id).await,
                    1 => service.cancel(order.id).await,
                    _ => continue,
                };
                ended.unwrap_or_else(|error| {
                    // On a machine that is busy, a second may be over.
                    assert!(matches!(error, Error::HoldExpired { .. }), "{error:?}");
                    None
                });
            }
            Err(Error::InsufficientStock { .. }) => {
                let held = OrderQuery {
                    status: Some(OrderStatus::Held),
                    ..OrderQuery::default()
                };
                if service.orders(&held).await.unwrap().items.is_empty() {
                    return placed;
                }
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// At no moment was more held or sold than there is; and what came back while somebody wanted it did
/// not lie there for a second.
fn never_more_than(pieces: i64, orders: &[Order]) {
    let mut moments = Vec::new();
    for order in orders {
        moments.push((order.held_at.unwrap(), 1));
        match order.status {
            OrderStatus::Expired => moments.push((order.held_until.unwrap(), -1)),
            OrderStatus::Cancelled => moments.push((order.cancelled_at.unwrap(), -1)),
            _ => assert!(order.confirmed_at.is_some(), "{order:?}"),
        }
    }
    // At the same moment, what comes back comes first.
    moments.sort_unstable();
    let (mut taken, mut longest) = (0, TimeDelta::zero());
    let mut free_since = moments[0].0;
    let mut was_short = false;
    for (at, more) in moments {
        if was_short && taken < pieces {
            longest = longest.max(at - free_since);
        }
        if taken == pieces {
            free_since = at;
        }
        taken += more;
        assert!(taken <= pieces, "{taken} of {pieces} at {at}");
        was_short |= taken == pieces;
    }
    assert_eq!(taken, pieces);
    assert!(longest < TimeDelta::seconds(1), "free for {longest}");
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
