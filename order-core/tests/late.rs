//! A statement that reaches the database long after its client gave it up, and the price and the
//! stock that change between looking at a product and selling it.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use order_core::{
    Error,
    clock::{Clock, SystemClock},
    domain::{AdjustmentId, Product, ProductChange},
    store::{ConnectOptions, OrderStore, PostgresStore, ProductStore, Store, Strategy},
    testing::PostgresServer,
};
use sqlx::{Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use shop::{Shop, shop};

impl Shop {
    async fn set_stock(&self, stock: i64) {
        let change = ProductChange::default().stock(stock).unwrap();
        let (id, now) = (
            AdjustmentId(self.ids.next(SystemClock.now())),
            SystemClock.now(),
        );
        let set = self.store.update_product(self.product, &change, id, now);
        set.await.unwrap();
    }

    async fn product(&self) -> Product {
        self.store.product(self.product).await.unwrap().unwrap()
    }
}

/// Holds a message back.
#[derive(Default)]
struct Wire {
    /// The number of messages that prepare or execute a statement, up to the one that is held
    /// back; 0: none is. Connections also say things of their own, at times of their own.
    countdown: AtomicI64,
    is_held: Notify,
    /// The client is cut off.
    cut: Notify,
    /// The message arrives after all.
    deliver: Notify,
    is_answered: Notify,
}

/// How a message begins that prepares a statement, and one that executes it.
const PARSE: u8 = b'P';
const BIND: u8 = b'B';

/// A TCP proxy to `port`: what one read gives is one message, as the driver writes it.
async fn wire_to(port: u16) -> (u16, Arc<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let wire = Arc::<Wire>::default();
    let of_all = Arc::clone(&wire);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(carry(client, server, Arc::clone(&of_all)));
        }
    });
    (own_port, wire)
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    wire: Arc<Wire>,
) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            sent = client.read(&mut up) => {
                let sent = sent?;
                if sent == 0 {
                    return Ok(());
                }
                let is_counted = matches!(up[0], PARSE | BIND);
                if is_counted && wire.countdown.fetch_sub(1, Ordering::SeqCst) == 1 {
                    wire.is_held.notify_one();
                    wire.cut.notified().await;
                    drop(client);
                    wire.deliver.notified().await;
                    server.write_all(&up[..sent]).await?;
                    let _ = server.read(&mut down).await?;
                    wire.is_answered.notify_one();
                    return Ok(());
                }
                server.write_all(&up[..sent]).await?;
            }
            answered = server.read(&mut down) => {
                let answered = answered?;
                if answered == 0 {
                    return Ok(());
                }
                client.write_all(&down[..answered]).await?;
            }
        }
    }
}

/// What was refused stays refused, whatever the stock is by the time that the statement of an
/// earlier attempt arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_comes_late_sells_nothing() {
    let shop = shop(1).await;
    let port = PostgresServer::shared().port();
    let (own_port, wire) = wire_to(port).await;
    let through = shop
        .url
        .replace(&format!(":{port}/"), &format!(":{own_port}/"));
    let mut doubted = 0;
    for message in 1..=6 {
        let options = ConnectOptions::default().with_max_connections(1);
        let store = PostgresStore::connect_with(&through, options)
            .await
            .unwrap();
        let order = shop.new_order();
        let id = order.id();
        wire.countdown.store(message, Ordering::SeqCst);
        let purchase = async move {
            let outcome = store.purchase(&[order], Strategy::Batch).await.unwrap();
            outcome.results.into_iter().next().unwrap()
        };
        let mut purchase = tokio::spawn(purchase);
        tokio::select! {
            biased;
            sold = &mut purchase => {
                assert_eq!(sold.unwrap().unwrap().id, id, "there were fewer messages");
                break;
            }
            () = wire.is_held.notified() => {}
        }
        shop.set_stock(0).await;
        let start = Instant::now();
        wire.cut.notify_one();
        let refused = purchase.await.unwrap();
        assert!(matches!(refused, Err(Error::InsufficientStock { .. })));
        doubted += i32::from(start.elapsed() >= Duration::from_millis(500));
        shop.set_stock(1).await;
        wire.deliver.notify_one();
        wire.is_answered.notified().await;
        assert_eq!(shop.store.order(id).await.unwrap(), None);
        assert_eq!(shop.product().await.stock, 1);
    }
    assert!(doubted > 0, "no attempt was in doubt");
    assert_eq!(shop.store.verify().await.unwrap(), []);
}

/// Somebody changes the product while others wait for it who have seen it before.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_between_seeing_and_selling_counts() {
    let shop = shop(2).await;
    let mut other = PgConnection::connect(&shop.url).await.unwrap();
    for change in ["price = 250", "stock = 0", "archived_at = now()"] {
        shop.set_stock(2).await;
        let mut changing = other.begin().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE products SET {change}")))
            .execute(&mut *changing)
            .await
            .unwrap();
        let (store, order) = (shop.store.clone(), shop.new_order());
        let purchase = tokio::spawn(async move {
            let outcome = store.purchase(&[order], Strategy::Batch).await.unwrap();
            outcome.results.into_iter().next().unwrap()
        });
        shop.somebody_waits().await;
        changing.commit().await.unwrap();
        let result = purchase.await.unwrap();
        assert!(
            match &result {
                Ok(order) => change.starts_with("price") && order.total_price.to_string() == "2.50",
                Err(Error::InsufficientStock { .. }) => change.starts_with("stock"),
                Err(Error::ProductNotFound(_)) => change.starts_with("archived"),
                Err(_) => false,
            },
            "{change}: {result:?}"
        );
    }
}
