//! A product that somebody holds locked, and does not let go, delays only the orders that contain
//! it: whichever way they come, and whatever else is to be done.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use order_core::{
    Error, OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{
        MAX_STOCK, Order, OrderId, OrderRequest, OrderStatus, ProductChange, ProductId,
        ProductRequest, Quantity, RequestedLine, StockRequest,
    },
    process::{
        AttemptOutcome, AttemptResult, Claim, Claimed, LogProcessor, ProcessOptions, Processing,
        TaskStore,
    },
    queue::RedisQueue,
    store::{Contention, OrderStore, PostgresStore, ProductStore, Store, Strategy},
    testing::RedisServer,
};
use sqlx::{Connection, PgConnection};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use shop::{Shop, shop};

/// The longest that an order may take while another product is locked.
const SOON: Duration = Duration::from_secs(1);

/// Somebody at a prompt who changed a product and went for lunch.
struct Forgotten(PgConnection);

impl Forgotten {
    async fn changes(shop: &Shop, product: ProductId) -> Self {
        let mut session = PgConnection::connect(&shop.url).await.unwrap();
        sqlx::raw_sql("BEGIN").execute(&mut session).await.unwrap();
        sqlx::query("UPDATE products SET name = 'forgotten' WHERE id = $1")
            .bind(product.0)
            .execute(&mut session)
            .await
            .unwrap();
        Self(session)
    }

    async fn goes(mut self) {
        let rollback = sqlx::raw_sql("ROLLBACK");
        rollback.execute(&mut self.0).await.unwrap();
    }
}

fn order_of(products: &[ProductId]) -> OrderRequest {
    let line = |product: &ProductId| RequestedLine {
        product_id: *product,
        quantity: Quantity::new(1).unwrap(),
    };
    OrderRequest::new(products.iter().map(line).collect(), None).unwrap()
}

impl Shop {
    async fn another(&self) -> ProductId {
        let product = ProductRequest::new("other", "1".parse().unwrap(), MAX_STOCK, None);
        self.service
            .create_product(product.unwrap())
            .await
            .unwrap()
            .id
    }

    fn contention(&self) -> Arc<Contention> {
        self.store.contention().unwrap()
    }

    /// Many clients that buy all the time, until they are told to stop; how many they sold.
    fn crowd(&self, clients: usize, order: &OrderRequest, stop: &CancellationToken) -> Crowd {
        let clients = (0..clients).map(|_| {
            let (service, order, stop) = (self.service.clone(), order.clone(), stop.clone());
            tokio::spawn(async move {
                let mut sold = 0;
                while !stop.is_cancelled() {
                    match service.purchase(order.clone()).await {
                        Ok(_) => sold += 1,
                        Err(Error::ProductContended { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
                sold
            })
        });
        Crowd(clients.collect())
    }

    async fn is_contended(&self, product: ProductId) {
        while !self.contention().contains(product) {
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn status(&self, id: OrderId) -> OrderStatus {
        self.store.order(id).await.unwrap().unwrap().status
    }

    async fn decided_soon(&self, order: &Order) {
        let start = Instant::now();
        while self.status(order.id).await == OrderStatus::Pending {
            assert!(start.elapsed() < SOON, "an order is still pending");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn balances(&self) {
        assert_eq!(self.store.verify().await.unwrap(), []);
    }
}

struct Crowd(Vec<JoinHandle<u64>>);

impl Crowd {
    async fn sold(self) -> u64 {
        let sold = join_all(self.0).await.into_iter();
        sold.map(Result::unwrap).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn purchases_of_other_products_go_on_however_many_want_the_locked_one() {
    let shop = shop(MAX_STOCK).await;
    let other = shop.another().await;
    let locked = Forgotten::changes(&shop, shop.product).await;
    let stop = CancellationToken::new();
    let alone = shop.crowd(40, &order_of(&[shop.product]), &stop);
    let both = shop.crowd(10, &order_of(&[other, shop.product]), &stop);
    let (began, mut bought) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        let start = Instant::now();
        shop.service.purchase(order_of(&[other])).await.unwrap();
        let took = start.elapsed();
        assert!(took < SOON, "purchase {bought} took {took:?}");
        bought += 1;
    }
    assert!(bought > 20, "{bought} were bought in three seconds");
    assert!(shop.contention().contains(shop.product));
    assert!(!shop.contention().contains(other));
    stop.cancel();
    locked.goes().await;
    let sold = [alone.sold().await, both.sold().await];
    assert_eq!(sold, [40, 10], "who waited has bought");
    assert!(shop.contention().is_empty());
    shop.balances().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_locked_product_is_served_in_the_order_of_arrival() {
    let shop = shop(15).await;
    let other = shop.another().await;
    let locked = Forgotten::changes(&shop, shop.product).await;
    let arrive = |wanted: &[ProductId]| {
        let (service, order) = (shop.service.clone(), order_of(wanted));
        // Joined in the order in which they are polled first.
        let orders = (0..10).map(move |_| (service.clone(), order.clone()));
        let orders = orders.map(|(service, order)| async move { service.purchase(order).await });
        tokio::spawn(join_all(orders))
    };
    let first = arrive(&[shop.product]);
    shop.is_contended(shop.product).await;
    let second = arrive(&[other, shop.product]);
    // Who is behind them in the same queue has been served: so they have come.
    shop.service.purchase(order_of(&[other])).await.unwrap();
    locked.goes().await;
    let third = arrive(&[shop.product]);
    let mut sold = Vec::new();
    for results in [first, second, third] {
        let results = results.await.unwrap();
        sold.extend(results.iter().map(Result::is_ok));
    }
    assert_eq!(sold, [vec![true; 15], vec![false; 15]].concat());
    shop.balances().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_while_a_product_is_locked_buys_nothing() {
    let shop = shop(10).await;
    let locked = Forgotten::changes(&shop, shop.product).await;
    let buy = || {
        let (service, order) = (shop.service.clone(), shop.order());
        tokio::spawn(async move { service.purchase(order).await })
    };
    let (goes, stays) = (buy(), buy());
    shop.is_contended(shop.product).await;
    // Behind them, so that both are aside by then.
    let other = shop.another().await;
    shop.service.purchase(order_of(&[other])).await.unwrap();
    goes.abort();
    assert!(goes.await.is_err());
    locked.goes().await;
    stays.await.unwrap().unwrap();
    let product = shop.store.product(shop.product).await.unwrap().unwrap();
    assert_eq!(product.stock, 9);
    shop.balances().await;
}

/// With and without a queue besides the database.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_orders_of_other_products_are_decided_while_one_is_locked() {
    const STOCK: usize = 1_500;
    let redis = RedisServer::start();
    for queued in [false, true] {
        let mut shop = shop(STOCK as i64).await;
        if queued {
            let queue = Arc::new(RedisQueue::new(redis.client()));
            let store: Arc<dyn Store> = Arc::new(shop.store.clone());
            shop.service = OrderService::builder(store).queue(queue).build();
        }
        let other = shop.another().await;
        let locked = Forgotten::changes(&shop, shop.product).await;
        let stop = CancellationToken::new();
        let worker = shop.service.worker(WorkerOptions::default());
        let working = tokio::spawn({
            let stop = stop.clone();
            async move { worker.run(stop).await }
        });
        let wanted = vec![order_of(&[shop.product]); 3_000];
        let accepted = shop.service.accept_all(wanted).await;
        let waiting: Vec<OrderId> = accepted
            .into_iter()
            .map(|order| order.unwrap().id)
            .collect();
        shop.is_contended(shop.product).await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let of_both = shop.service.accept(order_of(&[other, shop.product]));
            of_both.await.unwrap();
            let order = shop.service.accept(order_of(&[other])).await.unwrap();
            shop.decided_soon(&order).await;
        }
        assert_eq!(shop.status(waiting[0]).await, OrderStatus::Pending);
        locked.goes().await;
        let mut statuses = Vec::new();
        for id in waiting {
            while shop.status(id).await == OrderStatus::Pending {
                sleep(Duration::from_millis(5)).await;
            }
            statuses.push(shop.status(id).await);
        }
        let product = shop.store.product(shop.product).await.unwrap().unwrap();
        assert_eq!(product.stock, 0, "all of it was wanted");
        if !queued {
            assert!(
                statuses[..STOCK].iter().all(|s| *s == OrderStatus::Success),
                "first come, first served"
            );
        }
        stop.cancel();
        working.await.unwrap();
        shop.balances().await;
    }
}

impl Shop {
    async fn claim(&self) -> Vec<Claimed> {
        let claim = Claim {
            id: Uuid::from_u128(1),
            worker_id: Uuid::nil(),
            max: 100,
            ahead: 0,
            delay: Duration::ZERO,
            lease: Duration::from_secs(30),
        };
        self.store.claim_tasks(&claim).await.unwrap()
    }
}

/// Orders that wait for the locked product hold up no other change, and nobody's tasks.
#[tokio::test(flavor = "multi_thread")]
async fn cancels_and_changes_of_a_locked_product_wait_by_themselves() {
    let shop = shop(MAX_STOCK).await;
    let other = shop.another().await;
    let now = SystemClock.now();
    let orders: Vec<_> = (0..50)
        .map(|n| {
            let product = if n < 20 { shop.product } else { other };
            order_of(&[product]).into_new_order(OrderId(shop.ids.next(now)), now)
        })
        .collect();
    // One statement, so that their tasks lie in one row.
    let sold = shop.store.purchase(&orders, Strategy::Batch).await.unwrap();
    assert!(sold.results.iter().all(Result::is_ok));
    let locked = Forgotten::changes(&shop, shop.product).await;
    let mut waiting: Vec<JoinHandle<()>> = Vec::new();
    for order in &orders[..20] {
        let (service, id) = (shop.service.clone(), order.id());
        waiting.push(tokio::spawn(async move {
            assert_eq!(
                service.cancel(id).await.unwrap().unwrap().status,
                OrderStatus::Cancelled
            );
        }));
        let (service, product) = (shop.service.clone(), shop.product);
        waiting.push(tokio::spawn(async move {
            let adjustment = StockRequest::new(-1, None).unwrap();
            let adjusted = service.adjust_stock(product, adjustment).await;
            assert!(adjusted.unwrap().is_some());
        }));
        let (service, product) = (shop.service.clone(), shop.product);
        waiting.push(tokio::spawn(async move {
            let change = ProductChange::default().name("new".to_owned()).unwrap();
            let changed = service.update_product(product, &change).await;
            assert!(changed.unwrap().is_some());
        }));
    }
    shop.is_contended(shop.product).await;
    let start = Instant::now();
    shop.service.purchase(order_of(&[other])).await.unwrap();
    let adjustment = StockRequest::new(-1, None).unwrap();
    let adjusted = shop.service.adjust_stock(other, adjustment).await;
    adjusted.unwrap().unwrap();
    shop.service.cancel(orders[20].id()).await.unwrap().unwrap();
    let mut claimed = Vec::new();
    while claimed.len() < 30 {
        claimed.extend(shop.claim().await);
    }
    let ended = |claimed: &Claimed| {
        let is_other = orders[21..]
            .iter()
            .any(|order| order.id() == claimed.lease.order_id);
        is_other.then(|| claimed.result(Uuid::nil(), Duration::ZERO, AttemptOutcome::Done))
    };
    let ended: Vec<AttemptResult> = claimed.iter().filter_map(ended).collect();
    assert_eq!(shop.store.end_tasks(&ended, now).await.unwrap(), 29);
    assert!(start.elapsed() < SOON * 2, "took {:?}", start.elapsed());
    locked.goes().await;
    for waiting in waiting {
        waiting.await.unwrap();
    }
    shop.balances().await;
}

/// An order that somebody holds locked keeps no other from being completed.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_order_holds_up_no_tasks_but_its_own() {
    let shop = shop(MAX_STOCK).await;
    let orders: Vec<_> = (0..200).map(|_| shop.new_order()).collect();
    let sold = shop.store.purchase(&orders, Strategy::Batch).await.unwrap();
    assert!(sold.results.iter().all(Result::is_ok));
    let held = orders[70].id();
    let mut session = PgConnection::connect(&shop.url).await.unwrap();
    let mut holding = session.begin().await.unwrap();
    sqlx::query("SELECT FROM orders WHERE id = $1 FOR UPDATE")
        .bind(held.0)
        .execute(&mut *holding)
        .await
        .unwrap();
    let processing = Processing {
        processor: Arc::new(LogProcessor),
        options: ProcessOptions::default()
            .with_delay(Duration::ZERO)
            .with_concurrency(500),
    };
    let worker = shop.service.worker(WorkerOptions::default());
    let worker = worker.processing(processing);
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    let start = Instant::now();
    for order in orders.iter().filter(|order| order.id() != held) {
        while shop.status(order.id()).await != OrderStatus::Completed {
            assert!(start.elapsed() < SOON * 8, "a task is held up");
            sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(shop.status(held).await, OrderStatus::Success);
    holding.rollback().await.unwrap();
    while shop.status(held).await != OrderStatus::Completed {
        sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    working.await.unwrap();
    assert_eq!(
        shop.store
            .task_history(held)
            .await
            .unwrap()
            .unwrap()
            .attempts,
        []
    );
    shop.balances().await;
}

/// Busy is not contended: what two servers sell all the time is never set aside.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_sell_one_product_set_nothing_aside() {
    let shop = shop(MAX_STOCK).await;
    let other = PostgresStore::connect(&shop.url).await.unwrap();
    let contentions = [shop.contention(), other.contention().unwrap()];
    let other = Shop {
        service: OrderService::builder(Arc::new(other.clone())).build(),
        store: other,
        url: shop.url.clone(),
        ids: Default::default(),
        product: shop.product,
    };
    let stop = CancellationToken::new();
    let order = order_of(&[shop.product]);
    let crowds = [
        shop.crowd(100, &order, &stop),
        other.crowd(100, &order, &stop),
    ];
    sleep(Duration::from_secs(3)).await;
    stop.cancel();
    for crowd in crowds {
        assert!(crowd.sold().await > 100);
    }
    assert_eq!(contentions.map(|contention| contention.total()), [0, 0]);
    shop.balances().await;
}
