//! Verifying finds whatever is damaged and says what it is, on both databases, and finds nothing
//! while orders come in.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use order_core::{
    CancellationToken, OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{
        HoldTime, IdempotencyKey, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest,
        Quantity, RequestedLine, ReturnRequest,
    },
    process::{LogProcessor, ProcessOptions, Processing},
    store::{PostgresStore, SqliteStore, Store},
    testing::PostgresServer,
    verify::{
        Check::{
            self, Counters, Hold, MissingOrder, MissingProduct, OrderLines, OrderState, OrderTotal,
            Returns, Stock, Task,
        },
        Discrepancy, VerifyOptions,
    },
};
use sqlx::{AssertSqlSafe, PgConnection, SqliteConnection};
use uuid::Uuid;

/// Nobody's id.
const NOBODY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000);

/// A database whose guards are off.
enum Damaged {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Damaged {
    /// From now on no trigger fires, no foreign key is checked, and any state has any times.
    async fn disarm(&mut self) {
        match self {
            Self::Postgres(connection) => {
                let guards = "SET session_replication_role = replica;
                    ALTER TABLE orders DROP CONSTRAINT orders_times_match_status,
                                       DROP CONSTRAINT orders_hold_matches_status";
                sqlx::raw_sql(guards).execute(connection).await.unwrap();
            }
            Self::Sqlite(connection) => {
                let guards = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON";
                sqlx::raw_sql(guards)
                    .execute(&mut *connection)
                    .await
                    .unwrap();
                let triggers = "SELECT 'DROP TRIGGER ' || name FROM sqlite_schema \
                                WHERE type = 'trigger'";
                let drops: Vec<String> = sqlx::query_scalar(triggers)
                    .fetch_all(&mut *connection)
                    .await
                    .unwrap();
                for drop in drops {
                    let drop = sqlx::raw_sql(AssertSqlSafe(drop));
                    drop.execute(&mut *connection).await.unwrap();
                }
            }
        }
    }

    async fn execute(&mut self, damage: &str) {
        let sql = AssertSqlSafe(damage.to_owned());
        let changed = match self {
            Self::Postgres(connection) => {
                let done = sqlx::raw_sql(sql).execute(connection).await.unwrap();
                done.rows_affected()
            }
            Self::Sqlite(connection) => {
                let done = sqlx::raw_sql(sql).execute(connection).await.unwrap();
                done.rows_affected()
            }
        };
        assert!(changed > 0, "{damage}: nothing was damaged");
    }

    fn id(&self, id: Uuid) -> String {
        match self {
            Self::Postgres(_) => format!("'{id}'"),
            Self::Sqlite(_) => format!("x'{}'", id.simple()),
        }
    }

    /// The id as it stands in a row of tasks.
    fn packed(&self, id: OrderId) -> String {
        match self {
            Self::Postgres(_) => id.0.to_string(),
            Self::Sqlite(_) => id.0.simple().to_string(),
        }
    }

    const fn now(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "now()",
            Self::Sqlite(_) => "0",
        }
    }
}

async fn product(shop: &OrderService, name: &str) -> ProductId {
    let request = ProductRequest::new(name, "9.99".parse().unwrap(), 10_000, None).unwrap();
    shop.create_product(request).await.unwrap().id
}

fn one(product: ProductId) -> OrderRequest {
    OrderRequest::one(product, Quantity::new(1).unwrap())
}

fn one_line(product_id: ProductId) -> Vec<RequestedLine> {
    let quantity = Quantity::new(1).unwrap();
    vec![RequestedLine {
        product_id,
        quantity,
    }]
}

/// Works off the tasks of `shop` until `stop`.
fn working(shop: &OrderService, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
    let processing = Processing::new(Arc::new(LogProcessor), ProcessOptions::default());
    let worker = shop.worker(WorkerOptions::default()).processing(processing);
    let stop = stop.clone();
    tokio::spawn(async move {
        worker.run(stop).await;
    })
}

async fn completed(shop: &OrderService, product: ProductId) -> OrderId {
    let stop = CancellationToken::new();
    let work = working(shop, &stop);
    let sold = shop.purchase(one(product)).await.unwrap().id;
    let limit = Instant::now() + Duration::from_secs(20);
    while shop.order(sold).await.unwrap().unwrap().status != OrderStatus::Completed {
        assert!(Instant::now() < limit, "not completed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    work.await.unwrap();
    sold
}

async fn failed(shop: &OrderService, product: ProductId) -> OrderId {
    let too_many = OrderRequest::one(product, Quantity::new(1_000_000).unwrap());
    let order = shop.accept(too_many).await.unwrap().id;
    let worker = shop.worker(WorkerOptions::default());
    worker.drain(&CancellationToken::new()).await.unwrap();
    let order = shop.order(order).await.unwrap().unwrap();
    assert_eq!(order.status, OrderStatus::Failed);
    order.id
}

/// Orders of each kind.
struct Shop {
    lamp: ProductId,
    book: ProductId,
    done: OrderId,
    flipped: OrderId,
    blamed: OrderId,
    keyed: OrderId,
    sold: Vec<OrderId>,
    both: OrderId,
    cancelled: OrderId,
    held: [OrderId; 3],
    /// Two of its three pieces are left.
    part: OrderId,
    /// Likewise, and it is held.
    held_part: OrderId,
    pending: OrderId,
}

impl Shop {
    async fn new(store: &Arc<dyn Store>) -> Self {
        let shop = OrderService::builder(Arc::clone(store)).build();
        let (lamp, book) = (product(&shop, "lamp").await, product(&shop, "book").await);
        let done = completed(&shop, lamp).await;
        let (flipped, blamed) = (failed(&shop, lamp).await, failed(&shop, lamp).await);
        let key = IdempotencyKey::new(Uuid::nil(), "k").unwrap();
        let keyed = shop.purchase(one(lamp).with_key(key)).await.unwrap().id;
        let mut sold = Vec::new();
        for _ in 0..5 {
            sold.push(shop.purchase(one(lamp)).await.unwrap().id);
        }
        let both = [lamp, book].map(|product_id| RequestedLine {
            product_id,
            quantity: Quantity::new(1).unwrap(),
        });
        let both = OrderRequest::new(both.to_vec(), None).unwrap();
        let both = shop.purchase(both).await.unwrap().id;
        let cancelled = shop.purchase(one(lamp)).await.unwrap().id;
        shop.cancel(cancelled).await.unwrap().unwrap();
        let hold = || one(lamp).held_for(HoldTime::new(3_600).ok());
        let mut held = [cancelled; 3];
        for id in &mut held {
            *id = shop.purchase(hold()).await.unwrap().id;
        }
        let released = shop.purchase(hold()).await.unwrap().id;
        shop.cancel(released).await.unwrap().unwrap();
        let confirmed = shop.purchase(hold()).await.unwrap().id;
        shop.confirm(confirmed).await.unwrap().unwrap();
        let three = || OrderRequest::one(lamp, Quantity::new(3).unwrap());
        let back = || ReturnRequest::new(one_line(lamp)).unwrap();
        let part = shop.purchase(three()).await.unwrap().id;
        shop.give_back(part, back()).await.unwrap().unwrap();
        let held_three = three().held_for(HoldTime::new(3_600).ok());
        let held_part = shop.purchase(held_three).await.unwrap().id;
        shop.give_back(held_part, back()).await.unwrap().unwrap();
        let pending = shop.accept(one(lamp)).await.unwrap().id;
        Self {
            lamp,
            book,
            done,
            flipped,
            blamed,
            keyed,
            sold,
            both,
            cancelled,
            held,
            part,
            held_part,
            pending,
        }
    }
}

/// Statements that damage something, and the kinds of what is found then and was not before.
type Damages = Vec<(String, &'static [Check])>;

fn damaged_amounts(damaged: &Damaged, shop: &Shop) -> Damages {
    let id = |of: OrderId| damaged.id(of.0);
    let (lamp_id, book_id) = (damaged.id(shop.lamp.0), damaged.id(shop.book.0));
    vec![
        (
            format!("UPDATE products SET stock = stock - 7 WHERE id = {lamp_id}"),
            &[Stock],
        ),
        (
            format!("DELETE FROM stock_adjustments WHERE product_id = {book_id}"),
            &[Stock],
        ),
        (
            format!(
                "UPDATE orders SET total_price = 1 WHERE id = {}",
                id(shop.sold[0])
            ),
            &[OrderTotal],
        ),
        (
            format!(
                "UPDATE order_lines SET unit_price = 1 WHERE order_id = {}",
                id(shop.sold[1])
            ),
            &[OrderTotal],
        ),
        (
            format!(
                "UPDATE orders SET cancelled_quantities = '[4]' WHERE id = {}",
                id(shop.part)
            ),
            &[Stock, OrderTotal, Returns, Returns],
        ),
        (
            format!("DELETE FROM stock_returns WHERE product_id = {lamp_id}"),
            &[Returns],
        ),
        (
            format!(
                "UPDATE order_lines SET quantity = 2 WHERE order_id = {}",
                id(shop.keyed)
            ),
            &[Stock, OrderTotal],
        ),
        (
            format!(
                "DELETE FROM order_lines WHERE order_id = {}",
                id(shop.sold[2])
            ),
            &[Stock, OrderLines],
        ),
        (
            format!(
                "DELETE FROM order_lines WHERE line_no = 1 AND order_id = {}",
                id(shop.both)
            ),
            &[Stock, OrderLines],
        ),
        (
            format!("DELETE FROM orders WHERE id = {}", id(shop.sold[3])),
            &[Stock, MissingOrder, Task, Counters, Counters],
        ),
        (
            format!(
                "DELETE FROM task_batches WHERE CAST(order_ids AS text) LIKE '%{}%'",
                damaged.packed(shop.sold[4])
            ),
            &[Task],
        ),
    ]
}

fn damaged_holds(damaged: &Damaged, shop: &Shop) -> Damages {
    let [first, second, third] = shop.held.map(|id| damaged.id(id.0));
    let part = damaged.id(shop.held_part.0);
    let (sold, nobody) = (damaged.id(shop.done.0), damaged.id(NOBODY));
    let (lamp, now) = (damaged.id(shop.lamp.0), damaged.now());
    let hold = |order: &str| {
        format!(
            "INSERT INTO holds (order_id, product_id, held_until) \
                 VALUES ({order}, {lamp}, {now})"
        )
    };
    vec![
        (
            format!("DELETE FROM holds WHERE order_id = {first}"),
            &[Hold],
        ),
        (
            format!("UPDATE orders SET status = 'expired' WHERE id = {second}"),
            &[Stock, Returns, Counters, Hold],
        ),
        (
            format!("UPDATE orders SET held_at = NULL WHERE id = {third}"),
            &[OrderState, Counters],
        ),
        (
            format!("DELETE FROM holds WHERE order_id = {part}"),
            &[Hold],
        ),
        (
            format!("UPDATE orders SET cancelled_quantities = '[4]' WHERE id = {part}"),
            &[Stock, OrderTotal, Returns, Returns],
        ),
        (hold(&sold), &[Hold]),
        (hold(&nobody), &[MissingOrder]),
    ]
}

fn damaged_states_and_references(damaged: &Damaged, shop: &Shop) -> Damages {
    let id = |of: OrderId| damaged.id(of.0);
    let (book_id, nobody) = (damaged.id(shop.book.0), damaged.id(NOBODY));
    let now = damaged.now();
    vec![
        (
            format!(
                "UPDATE orders SET status = 'success', failure_code = NULL, failure_product_id = NULL, \
                 failure_requested = NULL, failure_available = NULL WHERE id = {}",
                id(shop.flipped)
            ),
            &[Stock, Task, Counters, Counters],
        ),
        (
            format!(
                "UPDATE orders SET failure_product_id = {book_id} WHERE id = {}",
                id(shop.blamed)
            ),
            &[OrderState],
        ),
        (
            format!(
                "UPDATE orders SET status = 'completed' WHERE id = {}",
                id(shop.pending)
            ),
            &[Stock, OrderState],
        ),
        (
            format!(
                "UPDATE orders SET cancelled_at = NULL WHERE id = {}",
                id(shop.cancelled)
            ),
            &[OrderState, Counters, Counters],
        ),
        (
            format!("UPDATE idempotency_keys SET target_id = {nobody}"),
            &[MissingOrder],
        ),
        (
            format!(
                "INSERT INTO process_attempts (order_id, attempt, started_at, ended_at, error) \
                 VALUES ({nobody}, 1, {now}, {now}, 'e')"
            ),
            &[MissingOrder],
        ),
        (
            format!(
                "INSERT INTO queue_entries (topic, order_id, visible_at) \
                 VALUES ('validate', {nobody}, {now})"
            ),
            &[MissingOrder],
        ),
        (
            format!(
                "INSERT INTO queue_entries (topic, order_id, visible_at) \
                 VALUES ('process', {}, {now})",
                id(shop.done)
            ),
            &[Task],
        ),
        (
            format!("DELETE FROM products WHERE id = {book_id}"),
            &[MissingProduct],
        ),
        (
            "UPDATE order_counters SET completed = completed + 1".to_owned(),
            &[Counters],
        ),
    ]
}

/// Damages one thing after the other: each time, what is found more than before is of the kinds that
/// are expected.
async fn finds_what_is_damaged(store: Arc<dyn Store>, mut damaged: Damaged) {
    let shop = Shop::new(&store).await;
    assert_eq!(store.verify().await.unwrap(), []);
    damaged.disarm().await;
    let mut damages = damaged_amounts(&damaged, &shop);
    damages.extend(damaged_holds(&damaged, &shop));
    damages.extend(damaged_states_and_references(&damaged, &shop));
    let mut before = Vec::new();
    for (damage, expected) in damages {
        damaged.execute(&damage).await;
        let found = store.verify().await.unwrap();
        let mut new = found.clone();
        new.retain(|one| !before.contains(one));
        let kinds = |of: &[Check]| {
            let mut kinds: Vec<String> = of.iter().map(Check::to_string).collect();
            kinds.sort();
            kinds
        };
        let got: Vec<Check> = new.iter().map(|one| one.check).collect();
        assert_eq!(kinds(&got), kinds(expected), "{damage}: {new:?}");
        before = found;
    }
    names_are_told(&before, shop.lamp);
    finds_in_a_part(&store).await;
}

fn names_are_told(found: &[Discrepancy], lamp: ProductId) {
    let of_lamp = |one: &&Discrepancy| one.check == Stock && one.id == Some(lamp.0);
    let lamp = found.iter().find(of_lamp).unwrap();
    assert_eq!(lamp.name.as_deref(), Some("lamp"));
}

/// Of a part of the orders, what concerns orders alone is found, and sums are not compared.
async fn finds_in_a_part(store: &Arc<dyn Store>) {
    let options = VerifyOptions {
        since: Some(chrono::DateTime::UNIX_EPOCH),
        ..VerifyOptions::default()
    };
    let part = store.verify_with(&options).await.unwrap();
    let found = |check| {
        part.discrepancies
            .iter()
            .filter(|one| one.check == check)
            .count()
    };
    assert_eq!(
        (found(OrderTotal), found(OrderLines), found(OrderState)),
        (5, 2, 4)
    );
    assert_eq!((found(Stock), found(Counters)), (0, 0));
    let options = VerifyOptions {
        since: Some(SystemClock.now() + chrono::TimeDelta::minutes(1)),
        ..VerifyOptions::default()
    };
    let none = store.verify_with(&options).await.unwrap();
    assert_eq!((none.verified.orders, none.verified.lines), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_finds_what_is_damaged() {
    use sqlx::Connection;

    let url = PostgresServer::shared().database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let connection = PgConnection::connect(&url).await.unwrap();
    finds_what_is_damaged(Arc::new(store), Damaged::Postgres(connection)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_finds_what_is_damaged() {
    use sqlx::Connection;

    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let connection = SqliteConnection::connect(&url).await.unwrap();
    finds_what_is_damaged(Arc::new(store), Damaged::Sqlite(connection)).await;
}

/// Buys, accepts, cancels and processes until `stop`.
async fn load(shop: OrderService, products: [ProductId; 2], stop: CancellationToken) {
    let mut bought = Vec::new();
    let hold = |product| one(product).held_for(HoldTime::new(60).ok());
    while !stop.is_cancelled() {
        for product in products {
            let _ = shop
                .purchase(one(product))
                .await
                .map(|order| bought.push(order.id));
            shop.accept(one(product)).await.unwrap();
            if let Ok(held) = shop.purchase(hold(product)).await {
                let _ = match bought.len() % 3 {
                    0 => shop.confirm(held.id).await,
                    1 => shop.cancel(held.id).await,
                    _ => shop.order(held.id).await,
                };
            }
        }
        // Its task waits, is under way, or is done.
        if bought.len().is_multiple_of(3) {
            let _ = shop.cancel(bought[bought.len() / 2]).await;
        }
        if bought.len().is_multiple_of(5) {
            let three = || OrderRequest::one(products[0], Quantity::new(3).unwrap());
            let held = three().held_for(HoldTime::new(1).ok());
            let back = || ReturnRequest::new(one_line(products[0])).unwrap();
            for three in [three(), held] {
                if let Ok(order) = shop.purchase(three).await {
                    let _ = shop.give_back(order.id, back()).await;
                    let _ = shop.give_back(order.id, back()).await;
                }
            }
        }
    }
}

/// The time for which orders come in; `SOAK_SECONDS` sets it.
fn load_time() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS");
    Duration::from_secs(seconds.map_or(3, |seconds| seconds.parse().unwrap()))
}

async fn finds_nothing_under_load(store: Arc<dyn Store>) {
    let shop = OrderService::builder(Arc::clone(&store)).build();
    let products = [product(&shop, "lamp").await, product(&shop, "book").await];
    let stop = CancellationToken::new();
    let work = working(&shop, &stop);
    let loads: Vec<_> = (0..16)
        .map(|_| tokio::spawn(load(shop.clone(), products, stop.clone())))
        .collect();
    let (began, mut looks) = (Instant::now(), 0);
    while looks < 5 || began.elapsed() < load_time() {
        let found = store.verify_with(&VerifyOptions::default()).await.unwrap();
        assert_eq!(found.discrepancies, [], "under load");
        looks += 1;
    }
    stop.cancel();
    for load in loads {
        load.await.unwrap();
    }
    work.await.unwrap();
    let found = store.verify_with(&VerifyOptions::default()).await.unwrap();
    assert_eq!(found.discrepancies, []);
    assert!(found.verified.orders > 100 && found.verified.lines == found.verified.orders);
    let orders = found.verified.orders;
    eprintln!("looked {looks} times while {orders} orders came in, and found nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_under_load() {
    let url = PostgresServer::shared().database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    finds_nothing_under_load(Arc::new(store)).await;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    finds_nothing_under_load(Arc::new(store)).await;
}
