//! Databases that an older version made are opened, migrated, and go on selling. Each dump holds
//! orders in every state, keys, counters, paused topics, and tasks that wait:
//! `pg_dump --inserts --no-owner --no-privileges` and `sqlite3 … .dump` of a small shop.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use order_core::{
    CancellationToken, OrderService, WorkerOptions,
    domain::{
        Currency, IdempotencyKey, Money, OrderRequest, OrderStatus, ProductChange, ProductId,
        Quantity, RequestedLine,
    },
    process::{LogProcessor, ProcessOptions, Processing},
    queue::Topic,
    store::{self, OrderQuery, Store},
    testing::PostgresServer,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use uuid::Uuid;

type Counts = BTreeMap<&'static str, usize>;

async fn counts(shop: &OrderService) -> Counts {
    let mut counts = Counts::new();
    for order in shop.orders(&OrderQuery::default()).await.unwrap().items {
        *counts.entry(order.status.as_str()).or_default() += 1;
    }
    counts
}

async fn goes_on_selling(store: Arc<dyn Store>) {
    store.migrate().await.unwrap();
    assert_eq!(store.verify().await.unwrap(), []);
    keeps_one_currency(&*store).await;
    let shop = OrderService::builder(store).build();
    let before = [
        ("cancelled", 1),
        ("completed", 3),
        ("failed", 1),
        ("pending", 1),
        ("success", 1),
    ];
    assert_eq!(counts(&shop).await, Counts::from(before));
    let totals = shop.stats().await.unwrap().counters.totals;
    assert_eq!((totals.pending(), totals.success()), (1, 1));
    assert_eq!(
        (totals.completed, totals.failed, totals.cancelled),
        (3, 1, 1)
    );
    // Its key is a client of its own, under whose id idempotency keys were kept.
    let keys = shop.keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (keys[0].client_id.0, &keys[0].client),
        (keys[0].id.0, &keys[0].name)
    );
    assert_eq!(
        shop.client(&keys[0].name).await.unwrap().id,
        keys[0].client_id
    );

    // A key of the old version still stands for its order.
    let lamp = shop.product_with_sku("LAMP-1").await.unwrap().unwrap();
    let key = IdempotencyKey::new(Uuid::nil(), "kept-1").unwrap();
    let again = order_of(lamp.id, Some("done-1")).with_key(key);
    let again = shop.purchase_or_replay(again).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.value.reference.as_deref(), Some("done-1"));

    assert_eq!(
        counts(&shop).await,
        Counts::from(before),
        "both topics are paused"
    );
    let dear = ProductChange::default().price(Money::MAX_PRICE).unwrap();
    shop.update_product(lamp.id, &dear).await.unwrap();
    let sold = shop.purchase(order_of(lamp.id, None)).await.unwrap();
    assert_eq!(sold.total_price, Money::MAX_PRICE);
    assert_eq!(sold.status, OrderStatus::Success);
    for topic in [Topic::Validate, Topic::Process] {
        shop.resume(topic).await.unwrap();
    }
    let processing = Processing::new(Arc::new(LogProcessor), ProcessOptions::default());
    let worker = shop.worker(WorkerOptions::default()).processing(processing);
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let stop = stop.clone();
        async move { worker.run(stop).await }
    });
    let after = Counts::from([("cancelled", 1), ("completed", 6), ("failed", 1)]);
    let done = async {
        while counts(&shop).await != after {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), done)
        .await
        .unwrap();
    stop.cancel();
    working.await.unwrap();
    assert_eq!(shop.verify().await.unwrap(), []);
}

/// A database that was made before has no currency, until somebody sets it.
async fn keeps_one_currency(store: &dyn Store) {
    assert_eq!(store.currency().await.unwrap(), None);
    let euro = "EUR".parse().unwrap();
    for asked in [euro, Currency::USD] {
        assert_eq!(store.set_currency(asked).await.unwrap(), euro);
    }
    assert_eq!(store.currency().await.unwrap(), Some(euro));
}

/// An order of one piece.
fn order_of(product_id: ProductId, reference: Option<&str>) -> OrderRequest {
    let line = RequestedLine {
        product_id,
        quantity: Quantity::new(1).unwrap(),
    };
    OrderRequest::new(vec![line], reference.map(str::to_owned)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_database_of_the_version_before_goes_on_selling() {
    let url = PostgresServer::shared().empty_database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let dump = include_str!("kept/postgres.sql");
    sqlx::raw_sql(AssertSqlSafe(dump))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    goes_on_selling(store::connect(&url).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_file_of_the_version_before_goes_on_selling() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let mut connection = SqliteConnection::connect(&format!("{url}?mode=rwc"))
        .await
        .unwrap();
    sqlx::raw_sql(include_str!("kept/sqlite.sql"))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    goes_on_selling(store::connect(&url).await.unwrap()).await;
}
