//! A page far back costs what the first one costs: the rows that are read are counted.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use chrono::{DateTime, Utc};
use order_core::{
    domain::{OrderId, OrderStatus, PageRequest, PageSize, PageStart, ProductId, Sort, TimeRange},
    store::{ConnectOptions, OrderQuery, OrderStore, PostgresStore, ProductQuery, ProductStore},
    testing::PostgresServer,
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

const ORDERS: u32 = 20_000;
/// Of every order but each hundredth.
const HOT: Uuid = Uuid::from_u128(1);
/// Of each hundredth order.
const RARE: Uuid = Uuid::from_u128(2);
/// The rows that reading one page may read: some for each that it shows.
const ROWS: i64 = 400;

/// The id with that number; a larger one is newer.
fn id(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number) << 80 | 0x7000 << 64 | 0x8000_0000_0000_0000)
}

/// A store with one session, so that what it did can be asked for.
async fn filled() -> PostgresStore {
    let options = ConnectOptions::default().with_max_connections(1);
    let url = PostgresServer::shared().database().await;
    let store = PostgresStore::connect_with(&url, options).await.unwrap();
    let id = "(lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid";
    for statement in [
        format!(
            "INSERT INTO products (id, name, price, stock, created_at, updated_at)
             SELECT {id}, 'p', 100, 1, now(), now() FROM generate_series(1, {ORDERS}) n
             UNION ALL SELECT id, 'sold', 100, 1, now(), now()
             FROM unnest('{{{HOT}, {RARE}}}'::uuid[]) id"
        ),
        format!(
            "INSERT INTO orders (id, status, total_price, reference, created_at, decided_at,
                                 cancelled_at)
             SELECT {id}, (CASE WHEN n % 100 = 7 THEN 'cancelled' ELSE 'success' END)::order_status,
                    100, CASE WHEN n % 100 = 3 THEN 'r' END, now(), now(),
                    CASE WHEN n % 100 = 7 THEN now() END
             FROM generate_series(1, {ORDERS}) n"
        ),
        format!(
            "INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
             SELECT {id}, line_no, (CASE WHEN n % 100 = 0 THEN '{RARE}' ELSE '{HOT}' END)::uuid, 1, 100
             FROM generate_series(1, {ORDERS}) n, generate_series(1, 2) line_no"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement))
            .execute(store.pool())
            .await
            .unwrap();
    }
    store
}

/// The first page and one in the middle, in each order.
fn starts<Id: Copy>(of: fn(Uuid) -> Id) -> impl Iterator<Item = (PageStart<Id>, Sort)> {
    let starts = [PageStart::First, PageStart::After(of(id(ORDERS / 2)))];
    starts
        .into_iter()
        .flat_map(|start| Sort::ALL.map(|sort| (start, sort)))
}

/// The rows, of tables and of indexes, that were read so far.
async fn rows_read(store: &PostgresStore) -> i64 {
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(store.pool())
        .await
        .unwrap();
    let read = "SELECT ((SELECT sum(seq_tup_read) FROM pg_stat_user_tables)
                      + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes))::bigint";
    sqlx::query_scalar(read)
        .fetch_one(store.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_orders_far_back_reads_as_little_as_the_first() {
    let store = filled().await;
    let (success, cancelled) = (Some(OrderStatus::Success), Some(OrderStatus::Cancelled));
    let (hot, rare) = (Some(ProductId(HOT)), Some(ProductId(RARE)));
    let reference = Some("r".to_owned());
    for (status, product_id, reference) in [
        (None, None, None),
        (success, None, None),
        (cancelled, None, None),
        (None, hot, None),
        (None, rare, None),
        (success, rare, None),
        (cancelled, hot, None),
        (None, None, reference.clone()),
        (None, hot, reference),
    ] {
        for (start, sort) in starts(OrderId) {
            let query = OrderQuery {
                status,
                product_id,
                reference: reference.clone(),
                sort,
                page: PageRequest {
                    start,
                    ..PageRequest::default()
                },
                ..OrderQuery::default()
            };
            let before = rows_read(&store).await;
            let page = store.orders(&query).await.unwrap();
            let read = rows_read(&store).await - before;
            assert_eq!(page.items.len(), 20, "{query:?}");
            assert!(page.next.is_some(), "{query:?}");
            assert!((20..ROWS).contains(&read), "{read} rows for {query:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_products_far_back_reads_as_little_as_the_first() {
    let store = filled().await;
    for (start, sort) in starts(ProductId) {
        let query = ProductQuery {
            sort,
            page: PageRequest {
                start,
                ..PageRequest::default()
            },
            ..ProductQuery::default()
        };
        let before = rows_read(&store).await;
        let page = store.products(&query).await.unwrap();
        let read = rows_read(&store).await - before;
        assert_eq!(page.items.len(), 20);
        assert!(
            (20..ROWS).contains(&read),
            "{read} rows from {start:?}, {sort}"
        );
    }
}

/// What no index finds is looked for in steps: a page ends early, and says where to go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_filtered_products_ends_after_some_steps() {
    let store = filled().await;
    let mut query = ProductQuery {
        min_price: Some("1.01".parse().unwrap()),
        ..ProductQuery::default()
    };
    let mut pages = 0;
    loop {
        let before = rows_read(&store).await;
        let page = store.products(&query).await.unwrap();
        let read = rows_read(&store).await - before;
        assert_eq!(page.items, []);
        assert!(read <= 10_000, "{read} rows of {ORDERS}");
        pages += 1;
        match page.next {
            Some(id) => query.page.start = PageStart::After(id),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    query.page = PageRequest::numbered(1, PageSize::default()).unwrap();
    assert_eq!(store.products(&query).await.unwrap().total, Some(0));
    query.sku = Some("none".to_owned());
    query.page = PageRequest::default();
    let before = rows_read(&store).await;
    store.products(&query).await.unwrap();
    assert!(rows_read(&store).await - before < ROWS);
}

/// The ids of these orders are of 1970: a range of times that begins later ends before them.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_times_is_read_along_the_ids() {
    let store = filled().await;
    let from = Some(DateTime::from_timestamp(1_000_000_000, 0).unwrap());
    for sort in Sort::ALL {
        nothing_is_found(&store, from, sort).await;
    }
}

async fn nothing_is_found(store: &PostgresStore, from: Option<DateTime<Utc>>, sort: Sort) {
    for product_id in [None, Some(ProductId(HOT)), Some(ProductId(RARE))] {
        for status in [
            None,
            Some(OrderStatus::Success),
            Some(OrderStatus::Cancelled),
        ] {
            let query = OrderQuery {
                status,
                product_id,
                created: TimeRange { from, until: None },
                sort,
                ..OrderQuery::default()
            };
            let before = rows_read(store).await;
            let page = store.orders(&query).await.unwrap();
            let read = rows_read(store).await - before;
            assert_eq!((page.items, page.next), (vec![], None));
            assert!(read < ROWS, "{read} rows for {query:?}");
        }
    }
}
