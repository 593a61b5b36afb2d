//! Confirmations in groups: they share transactions, and none fails or holds up another.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::future::join_all;
use order_core::{
    Error, OrderService,
    domain::{
        HoldTime, Order, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity,
    },
    store::{Store, connect},
    testing::{PostgresServer, PostgresTime, ReferenceStore, SqliteTime, conformance::Time},
};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use uuid::Uuid;

/// Far beyond what anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

async fn product(service: &OrderService) -> ProductId {
    let request = ProductRequest::new("p", "1.00".parse().unwrap(), 10_000, None).unwrap();
    service.create_product(request).await.unwrap().id
}

/// Holds so many orders for so many seconds.
async fn hold(
    service: &OrderService,
    product: ProductId,
    orders: usize,
    seconds: i64,
) -> Vec<OrderId> {
    let request = OrderRequest::one(product, Quantity::new(1).unwrap());
    let request = request.held_for(HoldTime::new(seconds).ok());
    let bought = join_all((0..orders).map(|_| service.purchase(request.clone()))).await;
    bought.into_iter().map(|order| order.unwrap().id).collect()
}

async fn confirm(service: &OrderService, orders: &[OrderId]) -> Vec<Result<Option<Order>, Error>> {
    join_all(orders.iter().map(|id| service.confirm(*id))).await
}

async fn each_has_its_result(store: Arc<dyn Store>, time: Arc<dyn Time>) {
    store.migrate().await.unwrap();
    let service = OrderService::builder(Arc::clone(&store)).build();
    let product = product(&service).await;
    let lapsed = hold(&service, product, 5, 60).await;
    time.advance(TimeDelta::seconds(61)).await;
    let held = hold(&service, product, 400, 3_600).await;
    let request = OrderRequest::one(product, Quantity::new(1).unwrap());
    let pending = service.accept(request.clone()).await.unwrap().id;
    let sold = service.purchase(request).await.unwrap().id;
    let nobody = OrderId(Uuid::nil());
    // Each held one twice: the second finds it confirmed.
    let all = [&lapsed[..], &held, &held, &[pending, sold, nobody]].concat();
    let mut results = confirm(&service, &all).await.into_iter();
    for result in results.by_ref().take(lapsed.len()) {
        assert!(
            matches!(result, Err(Error::HoldExpired { .. })),
            "{result:?}"
        );
    }
    let mut times = BTreeSet::new();
    for (id, result) in [&held[..], &held].concat().iter().zip(&mut results) {
        let order = result.unwrap().unwrap();
        assert_eq!((order.id, order.status), (*id, OrderStatus::Success));
        times.insert(order.confirmed_at.unwrap());
    }
    for status in [OrderStatus::Pending, OrderStatus::Success] {
        let result = results.next().unwrap();
        assert!(
            matches!(&result, Err(Error::OrderState { status: told }) if *told == status),
            "{result:?}"
        );
    }
    assert_eq!(
        results.next().unwrap().unwrap(),
        None,
        "there is no such order"
    );
    // A group has one time.
    assert!(times.len() <= 40, "{} groups for 400 orders", times.len());
    assert_eq!(store.verify().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmations_share_transactions() {
    let reference = ReferenceStore::default();
    each_has_its_result(Arc::new(reference.clone()), Arc::new(reference)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", dir.path().join("orders.db").display());
    each_has_its_result(
        connect(&file).await.unwrap(),
        Arc::new(SqliteTime::new(&file)),
    )
    .await;
    let url = PostgresServer::shared().database().await;
    each_has_its_result(
        connect(&url).await.unwrap(),
        Arc::new(PostgresTime::new(&url)),
    )
    .await;
}

/// Somebody holds one order of a group locked.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_locked_holds_up_no_other() {
    let url = PostgresServer::shared().database().await;
    let service = OrderService::builder(connect(&url).await.unwrap()).build();
    let product = product(&service).await;
    let held = hold(&service, product, 50, 3_600).await;
    let (locked, others) = held.split_first().unwrap();
    let mut somebody = PgConnection::connect(&url).await.unwrap();
    let mut transaction = somebody.begin().await.unwrap();
    sqlx::query("SELECT FROM orders WHERE id = $1 FOR UPDATE")
        .bind(locked.0)
        .execute(&mut *transaction)
        .await
        .unwrap();
    // With the first in a group, and not only after it.
    let (first, others) = (service.clone(), others.to_vec());
    let group = [&[*locked], &others[..]].concat();
    let all = tokio::spawn(async move { confirm(&first, &group).await });
    let told = timeout(LIMIT, confirm(&service, &others)).await.unwrap();
    for result in told {
        assert_eq!(result.unwrap().unwrap().status, OrderStatus::Success);
    }
    let later = hold(&service, product, 1, 3_600).await;
    let told = timeout(LIMIT, service.confirm(later[0])).await.unwrap();
    assert_eq!(told.unwrap().unwrap().status, OrderStatus::Success);
    let waits = service.order(*locked).await.unwrap().unwrap();
    assert_eq!(
        (waits.status, all.is_finished()),
        (OrderStatus::Held, false)
    );
    transaction.commit().await.unwrap();
    for result in timeout(LIMIT, all).await.unwrap().unwrap() {
        assert_eq!(result.unwrap().unwrap().status, OrderStatus::Success);
    }
}
