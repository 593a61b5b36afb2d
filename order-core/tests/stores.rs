//! Every store and queue that we ship, through the same suites.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{sync::Arc, time::Duration};

use order_core::{
    OrderService, WorkerOptions,
    store::{SqliteStore, Store, Strategy},
    testing::{
        PostgresServer, PostgresTime, ReferenceStore, SqliteTime,
        conformance::{self, Time},
        load::{Load, Shop, check, create_products, place_orders, wait_until_decided},
        model,
    },
};
use tokio_util::sync::CancellationToken;

/// A store in a new file, and its time.
async fn sqlite_with_time() -> (Arc<dyn Store>, Arc<dyn Time>) {
    // Kept for the life of the process: the store has no say when its file may go.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    (Arc::new(store), Arc::new(SqliteTime::new(&url)))
}

async fn postgres_with_time() -> (Arc<dyn Store>, Arc<dyn Time>) {
    let url = PostgresServer::shared().database().await;
    let store = order_core::store::connect(&url).await.unwrap();
    (store, Arc::new(PostgresTime::new(&url)))
}

async fn sqlite() -> Arc<dyn Store> {
    sqlite_with_time().await.0
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
fn sqlite_plays_like_its_twin() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    model::behaves_like_the_reference_store(&runtime, 64, sqlite_with_time);
}

#[test]
fn postgres_plays_like_its_twin() {
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
    let server = PostgresServer::shared();
    for strategy in Strategy::ALL {
        // Two services with connections of their own: as two processes would.
        let url = server.database().await;
        let stores = [
            order_core::store::connect(&url).await.unwrap(),
            order_core::store::connect(&url).await.unwrap(),
        ];
        serve_a_load(&stores, strategy).await;
    }
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
