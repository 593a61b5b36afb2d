//! A URL that names several servers: the one that takes writes is found, at first and after each
//! failover, without a proxy.

use std::{error::Error as _, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use order_core::{
    Error, OrderService,
    clock::{Clock, SystemClock},
    domain::{IdGenerator, NewOrder, OrderId, OrderRequest, ProductId, ProductRequest, Quantity},
    store::{ConnectOptions, OrderStore, PostgresStore, Store, Strategy},
    testing::{PostgresPair, TcpProxy, free_port},
};
use sqlx::{Connection, PgConnection};

use super::within;

struct Shop {
    store: PostgresStore,
    product: ProductId,
    ids: IdGenerator,
}

impl Shop {
    async fn open(url: &str) -> Self {
        Self::open_patiently(url, Duration::from_secs(1)).await
    }

    /// Its operations wait so long for a connection.
    async fn open_patiently(url: &str, patience: Duration) -> Self {
        let options = ConnectOptions::default().with_acquire_timeout(patience);
        let store = PostgresStore::connect_with(url, options).await.unwrap();
        store.migrate().await.unwrap();
        let service = OrderService::builder(Arc::new(store.clone())).build();
        let product = ProductRequest::new("p", "1".parse().unwrap(), 1_000, None).unwrap();
        let product = service.create_product(product).await.unwrap().id;
        Self {
            store,
            product,
            ids: IdGenerator::default(),
        }
    }

    fn order(&self) -> NewOrder {
        let at = SystemClock.now();
        OrderRequest::one(self.product, Quantity::new(1).unwrap())
            .into_new_order(OrderId(self.ids.next(at)), at)
    }

    async fn sell(&self) -> Result<(), Error> {
        let sold = self.store.purchase(&[self.order()], Strategy::Batch).await;
        sold?.results.remove(0).map(drop)
    }

    /// The ports of the servers that its connections are with, as they are handed out.
    async fn server(&self) -> i32 {
        let port = sqlx::query_scalar("SELECT inet_server_port()");
        port.fetch_one(self.store.pool()).await.unwrap()
    }
}

/// The time of a server, and how many sessions of the store it has that began since `then`.
async fn sessions_since(port: u16, then: Option<DateTime<Utc>>) -> (DateTime<Utc>, i64) {
    let mut connection = PgConnection::connect(&PostgresPair::url(port))
        .await
        .unwrap();
    let ask = "SELECT clock_timestamp(), count(*) FROM pg_stat_activity
               WHERE application_name = 'orders' AND backend_start > $1";
    let ask = sqlx::query_as(ask).bind(then);
    ask.fetch_one(&mut connection).await.unwrap()
}

/// The standby comes first in the URL; then the primary is killed, and the standby promoted.
#[tokio::test(flavor = "multi_thread")]
async fn the_primary_is_found_and_found_again() {
    let pair = PostgresPair::start().await;
    let shop = Shop::open(&pair.url_of_both()).await;
    shop.sell().await.unwrap();
    assert_eq!(shop.server().await, i32::from(pair.primary_port()));
    let shown = format!("{:?}", shop.store);
    assert!(!shown.contains("password"), "{shown}");

    let nobody = free_port();
    let url = format!(
        "postgres://postgres:s3cr3t@127.0.0.1:{nobody},127.0.0.1:{}/orders",
        pair.standby_port()
    );
    let options = ConnectOptions::default().with_acquire_timeout(Duration::from_millis(200));
    let refused = PostgresStore::connect_with(&url, options)
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    let said = refused.source().unwrap().to_string();
    let each = [
        format!("127.0.0.1:{nobody} does not answer (connection refused)"),
        format!(
            "127.0.0.1:{} is a standby or read-only",
            pair.standby_port()
        ),
    ];
    assert!(each.iter().all(|one| said.contains(one)), "{said}");
    assert!(!said.contains("s3cr3t"), "{said}");

    pair.kill_primary();
    let is_away = async || shop.sell().await.err();
    within(Duration::from_secs(5), "the primary is away", is_away).await;
    pair.promote().await;
    let sells = async || shop.sell().await.ok();
    within(Duration::from_secs(5), "it sells", sells).await;
    let told = async || shop.store.check_writable().await.ok();
    within(Duration::from_secs(3), "it tells", told).await;
    for _ in 0..50 {
        shop.sell().await.unwrap();
    }
    assert_eq!(shop.server().await, i32::from(pair.standby_port()));
    // What has a connection of its own finds it, too.
    shop.store.migrate().await.unwrap();
    assert_eq!(shop.store.verify().await.unwrap(), []);
}

/// The primary falls silent, its standby is promoted, and the old one comes back as if nothing had
/// happened, even as the only one: it is not gone back to. Nor is anything asked on sessions that
/// it has all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_replaced_is_none() {
    let pair = PostgresPair::start().await;
    let new = i32::from(pair.standby_port());
    let silent = TcpProxy::to(pair.primary_port()).await;
    let half = TcpProxy::to(pair.primary_port()).await;
    let url = |proxy: &TcpProxy| {
        let (old, new) = (proxy.port(), pair.standby_port());
        format!("postgres://postgres@127.0.0.1:{old},127.0.0.1:{new}/orders")
    };
    let shop = Shop::open(&url(&silent)).await;
    let other = Shop::open(&url(&half)).await;
    shop.sell().await.unwrap();
    other.sell().await.unwrap();

    let (then, _) = sessions_since(pair.primary_port(), None).await;
    silent.take_silently();
    silent.silence();
    // Here, sessions that are there go on, but for that which asks.
    half.take_silently();
    let mut old = PgConnection::connect(&PostgresPair::url(pair.primary_port()))
        .await
        .unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'orders-primary'";
    sqlx::query(end).execute(&mut old).await.unwrap();
    pair.promote().await;
    let is_with_new = async || (other.server().await == new).then_some(());
    within(Duration::from_secs(5), "it left the old one", is_with_new).await;
    let sells = async || shop.sell().await.ok();
    within(Duration::from_secs(10), "it sells", sells).await;
    silent.forward();
    for _ in 0..50 {
        shop.sell().await.unwrap();
        other.sell().await.unwrap();
    }
    assert_eq!(shop.server().await, new);

    // Its sessions may go on for a moment.
    pair.kill_standby();
    let is_away = async || shop.sell().await.err();
    within(Duration::from_secs(5), "the new one is away", is_away).await;
    for _ in 0..2 {
        let refused = shop.sell().await.unwrap_err();
        assert!(
            matches!(
                refused,
                Error::Unavailable { .. } | Error::OutcomeUnknown { .. }
            ),
            "{refused:?}"
        );
    }
    shop.store.check_writable().await.unwrap_err();
    let (_, count) = sessions_since(pair.primary_port(), Some(then)).await;
    assert_eq!(count, 0);
}

/// An attempt at a session begins with the primary before it is replaced, and its answer comes
/// after that: the session is closed, and another made.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_came_about_too_late_is_closed() {
    let pair = PostgresPair::start().await;
    let late = TcpProxy::to(pair.primary_port()).await;
    let (old, new) = (late.port(), pair.standby_port());
    let url = format!("postgres://postgres@127.0.0.1:{old},127.0.0.1:{new}/orders");
    let shop = Arc::new(Shop::open_patiently(&url, Duration::from_secs(30)).await);
    shop.sell().await.unwrap();

    late.take_silently();
    late.cut();
    let sells = async || {
        let sold = tokio::time::timeout(Duration::from_millis(300), shop.sell());
        sold.await.ok()?.ok()
    };
    assert!(sells().await.is_none());
    let waiting = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.server().await }
    });
    // It connects while the server is promoted.
    pair.promote().await;
    within(Duration::from_secs(10), "it sells", sells).await;
    assert!(!waiting.is_finished());
    late.forward();
    assert_eq!(waiting.await.unwrap(), i32::from(new));
}
