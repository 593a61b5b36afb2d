//! Following orders and watching products: every watcher sees every state of an order, and the
//! newest of a product, and the database is asked seldom.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use order_core::{
    Error, OrderService, WorkerOptions,
    domain::{
        Order, OrderRequest, OrderStatus, ProductChange, ProductId, ProductRequest, Quantity,
        StockRequest,
    },
    store::{SqliteStore, Store},
    testing::{PostgresServer, ReferenceStore},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Far beyond what anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

async fn stock(service: &OrderService) -> ProductId {
    let product = ProductRequest::new("p", "1".parse().unwrap(), 1_000_000, None).unwrap();
    service.create_product(product).await.unwrap().id
}

async fn accept(service: &OrderService, product: ProductId) -> Order {
    let order = OrderRequest::one(product, Quantity::new(1).unwrap());
    service.accept(order).await.unwrap()
}

/// Decides all that is pending.
async fn decide(service: &OrderService) {
    let worker = service.worker(WorkerOptions::default());
    worker.drain(&CancellationToken::new()).await.unwrap();
}

fn reference_shop() -> OrderService {
    OrderService::builder(Arc::new(ReferenceStore::default())).build()
}

/// Waits until nobody watches any more.
async fn until_forgotten(service: &OrderService) {
    let start = Instant::now();
    while service.watch_stats().orders > 0 {
        assert!(start.elapsed() < LIMIT, "{:?}", service.watch_stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two services on each database, as two processes have them.
async fn on_two_services(test: impl AsyncFn(&OrderService, &OrderService)) {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", dir.path().join("orders.db").display());
    SqliteStore::connect(&file)
        .await
        .unwrap()
        .migrate()
        .await
        .unwrap();
    for url in [file, PostgresServer::shared().database().await] {
        let mut services = Vec::new();
        for _ in 0..2 {
            let store = order_core::store::connect(&url).await.unwrap();
            services.push(OrderService::builder(store).build());
        }
        test(&services[0], &services[1]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_of_another_process_is_seen() {
    on_two_services(async |here, there| {
        let order = accept(here, stock(here).await).await;
        let wait = here.wait_for_decision(&order, LIMIT);
        let (decided, ()) = tokio::join!(wait, decide(there));
        let decided = decided.unwrap().unwrap();
        assert_eq!(decided.status, OrderStatus::Success);
        let mut watch = here.watch(order.id).unwrap();
        let cancelled = there.cancel(order.id).await.unwrap().unwrap();
        let (_, stages) = timeout(LIMIT, watch.since(OrderStatus::Success))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stages.len(), 1);
        assert_eq!(Some(stages[0].updated_at), cancelled.cancelled_at);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_watched_until_another_process_archives_it() {
    on_two_services(async |here, there| {
        let id = stock(here).await;
        let mut watch = here.watch_product(id).unwrap();
        let mut seen = None;
        for stock in [1_000_000, 7, 6] {
            if stock == 7 {
                let change = ProductChange::default().stock(stock).unwrap();
                there.update_product(id, &change).await.unwrap();
            } else if stock == 6 {
                let one = OrderRequest::one(id, Quantity::new(1).unwrap());
                there.purchase(one).await.unwrap();
            }
            let told = timeout(LIMIT, watch.changed(seen)).await.unwrap();
            let told = told.unwrap().unwrap();
            let product = there.store().product(id).await.unwrap().unwrap();
            assert_eq!((told.stock, told.version), (stock, product.version));
            assert_eq!(told, (&product).into());
            seen = Some(told.version);
        }
        assert!(there.archive_product(id).await.unwrap());
        let mut nobody = here.watch_product(ProductId(uuid::Uuid::nil())).unwrap();
        for watch in [&mut watch, &mut nobody] {
            let gone = timeout(LIMIT, watch.changed(seen)).await.unwrap();
            assert_eq!(gone.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_now_is_read_later() {
    let store = PostgresServer::shared().store().await;
    let service = OrderService::builder(Arc::new(store.clone())).build();
    let order = accept(&service, stock(&service).await).await;
    let run = async |statement: &'static str| {
        sqlx::query(statement).execute(store.pool()).await.unwrap();
    };
    let mut watch = service.watch(order.id).unwrap();
    run("ALTER TABLE orders RENAME TO elsewhere").await;
    let start = Instant::now();
    let before = service.watch_stats().queries;
    while service.watch_stats().queries < before + 2 {
        assert!(start.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run("ALTER TABLE elsewhere RENAME TO orders").await;
    decide(&service).await;
    timeout(LIMIT, watch.decided()).await.unwrap().unwrap();
}

/// Two watch the same order. What the first has seen is no news, and the second must not
/// wait for news.
#[tokio::test]
async fn who_comes_late_is_told_what_is_known() {
    let service = reference_shop();
    let order = accept(&service, stock(&service).await).await;
    let mut first = service.watch(order.id).unwrap();
    decide(&service).await;
    timeout(LIMIT, first.decided()).await.unwrap().unwrap();
    let mut second = service.watch(order.id).unwrap();
    timeout(LIMIT, second.decided()).await.unwrap().unwrap();
    // The order as it was read before all this.
    let decided = service.wait_for_decision(&order, LIMIT).await.unwrap();
    assert_eq!(decided.unwrap().status, OrderStatus::Success);
}

/// The clock stands still, and with it the watcher, while another service decides and cancels.
#[tokio::test(start_paused = true)]
async fn states_between_two_looks_are_told() {
    let store = Arc::new(ReferenceStore::default()) as Arc<dyn Store>;
    let here = OrderService::builder(Arc::clone(&store)).build();
    let there = OrderService::builder(store).build();
    let order = accept(&here, stock(&here).await).await;
    let mut watch = here.watch(order.id).unwrap();
    while here.watch_stats().queries == 0 {
        tokio::task::yield_now().await;
    }
    decide(&there).await;
    there.cancel(order.id).await.unwrap();
    assert_eq!(here.watch_stats().queries, 1);
    let (told, stages) = timeout(LIMIT, watch.since(OrderStatus::Pending))
        .await
        .unwrap()
        .unwrap();
    let states: Vec<OrderStatus> = stages.iter().map(|stage| stage.status).collect();
    assert_eq!(states, [OrderStatus::Success, OrderStatus::Cancelled]);
    assert_eq!(told.status, OrderStatus::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_in_time_and_is_forgotten() {
    let service = reference_shop();
    let order = accept(&service, stock(&service).await).await;
    let start = tokio::time::Instant::now();
    let waited = service.wait_for_decision(&order, LIMIT).await.unwrap();
    assert_eq!((waited, start.elapsed()), (None, LIMIT));
    until_forgotten(&service).await;
    let queries = service.watch_stats().queries;
    tokio::time::sleep(LIMIT).await;
    assert_eq!(service.watch_stats().queries, queries, "nobody watches");
}

#[tokio::test]
async fn one_order_too_many_is_refused_and_room_comes_back() {
    let store = Arc::new(ReferenceStore::default()) as Arc<dyn Store>;
    let service = OrderService::builder(store).max_watched(2).build();
    let product = stock(&service).await;
    let mut watches = Vec::new();
    for _ in 0..2 {
        let order = accept(&service, product).await;
        watches.push(service.watch(order.id).unwrap());
        // The same one again costs nothing.
        watches.push(service.watch(order.id).unwrap());
    }
    let third = accept(&service, product).await.id;
    assert!(matches!(service.watch(third), Err(Error::Overloaded)));
    drop(watches);
    until_forgotten(&service).await;
    let mut watch = service.watch(third).unwrap();
    decide(&service).await;
    timeout(LIMIT, watch.decided()).await.unwrap().unwrap();
}

/// In ten seconds of a clock that moves by itself.
#[tokio::test(start_paused = true)]
async fn many_cost_no_more_queries_than_one() {
    let mut asked = Vec::new();
    for count in [1, 1_000] {
        let service = reference_shop();
        let product = stock(&service).await;
        let mut watches = Vec::new();
        for _ in 0..count {
            let order = accept(&service, product).await;
            watches.push(service.watch(order.id).unwrap());
        }
        let before = service.watch_stats().queries;
        tokio::time::sleep(LIMIT).await;
        asked.push(service.watch_stats().queries - before);
    }
    let [one, thousand] = asked[..] else {
        unreachable!()
    };
    assert!((50..=110).contains(&one), "{one}");
    assert!(thousand <= one + 5, "{one}, {thousand}");
}

/// A thousand changes in ten seconds of a clock that moves by itself: five looks a second tell of
/// them, and the last one is told.
#[tokio::test(start_paused = true)]
async fn what_changes_often_is_told_five_times_a_second() {
    let service = reference_shop();
    let id = stock(&service).await;
    let mut watch = service.watch_product(id).unwrap();
    let told = async {
        let (mut told, mut seen, mut stock) = (0, None, 1_000_000);
        while stock > 999_000 {
            let product = watch.changed(seen).await.unwrap().unwrap();
            (seen, stock) = (Some(product.version), product.stock);
            told += 1;
        }
        told
    };
    let changes = async {
        for _ in 0..1_000 {
            tokio::time::sleep(LIMIT / 1_000).await;
            let one = StockRequest::new(-1, None).unwrap();
            service.adjust_stock(id, one).await.unwrap();
        }
    };
    let (told, ()) = tokio::join!(told, changes);
    assert!((20..=52).contains(&told), "{told}");
}

/// Of ten products, in ten seconds of a clock that moves by itself.
#[tokio::test(start_paused = true)]
async fn five_hundred_watch_products_for_the_queries_of_one() {
    let mut asked = Vec::new();
    for count in [1, 500] {
        let service = reference_shop();
        let mut products = Vec::new();
        for _ in 0..10 {
            products.push(stock(&service).await);
        }
        let mut watches = Vec::new();
        for number in 0..count {
            // They come one after another, while others watch.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let watch = service.watch_product(products[number % 10]).unwrap();
            watches.push(watch);
        }
        let before = service.watch_stats().product_queries;
        tokio::time::sleep(LIMIT).await;
        let stats = service.watch_stats();
        assert_eq!(
            (stats.products, stats.orders, stats.queries),
            (count.min(10), 0, 0)
        );
        asked.push(stats.product_queries - before);
        assert!(stats.product_queries <= 54, "{stats:?}");
        drop(watches);
        tokio::time::sleep(LIMIT).await;
        let stats = service.watch_stats();
        assert_eq!(stats.products, 0);
        tokio::time::sleep(LIMIT).await;
        assert_eq!(service.watch_stats(), stats, "nobody watches");
    }
    let [one, many] = asked[..] else {
        unreachable!()
    };
    assert!((45..=50).contains(&one), "{one}");
    assert!(many.abs_diff(one) <= 1, "{one}, {many}");
}
