//! Names that somebody wrote past the program that folds them: an older version, or a person.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::time::{Duration, Instant};

use order_core::{
    domain::{PageRequest, PageSize, PageStart},
    store::{PostgresStore, ProductQuery, ProductStore, SqliteStore, Store},
    testing::PostgresServer,
};
use sqlx::{Connection, PgConnection, PgPool, SqlitePool};

/// The last version of the schema without folds.
const BEFORE: i64 = 5;
/// More than are folded in one transaction.
const NAMES: i64 = 1_700;

/// The names of the products that a search finds, up to 100, and how many there are.
async fn find(store: &dyn ProductStore, part: &str) -> (Vec<String>, u64) {
    let query = ProductQuery {
        search: Some(part.to_owned()),
        page: PageRequest {
            size: PageSize::new(100).unwrap(),
            start: PageStart::Offset(0),
        },
        ..ProductQuery::default()
    };
    let page = store.products(&query).await.unwrap();
    let names = page.items.into_iter().map(|product| product.name);
    (names.collect(), page.total.unwrap())
}

async fn count(store: &dyn ProductStore, part: &str) -> u64 {
    find(store, part).await.1
}

const FILL_POSTGRES: &str = "
    INSERT INTO products (id, name, price, stock, created_at, updated_at)
    SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid,
           CASE n % 3 WHEN 0 THEN 'LAMP ' ELSE 'ÉTAGÈRE ' END || n, 100, 1, now(), now()
    FROM generate_series(1, $1) n";

const FILL_SQLITE: &str = "
    INSERT INTO products (id, name, price, stock, created_at, updated_at)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
    SELECT unhex(printf('%012x', n) || '70008000000000000000'),
           CASE n % 3 WHEN 0 THEN 'LAMP ' ELSE 'ÉTAGÈRE ' END || n, 100, 1, 0, 0
    FROM numbers";

/// A database of the version before, with products, and none of this version's sessions.
async fn older_postgres() -> String {
    let url = PostgresServer::shared().empty_database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    let migrations = sqlx::migrate!("./migrations/postgres");
    migrations.run_to(BEFORE, &pool).await.unwrap();
    let fill = sqlx::query(FILL_POSTGRES).bind(NAMES);
    fill.execute(&pool).await.unwrap();
    pool.close().await;
    url
}

/// Several start at once on a database of the version before: each that is ready finds
/// every name, and each name was folded once.
#[tokio::test(flavor = "multi_thread")]
async fn names_from_before_are_found_as_soon_as_postgres_is_migrated() {
    let url = older_postgres().await;
    let start = async || {
        let store = PostgresStore::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        (count(&store, "étagère").await, store)
    };
    let ((first, store), (second, _), (third, _)) = tokio::join!(start(), start(), start());
    let expected = u64::try_from(NAMES - NAMES / 3).unwrap();
    assert_eq!([first, second, third], [expected; 3]);
    assert_eq!(count(&store, "lamp").await, NAMES.unsigned_abs() / 3);
    assert_eq!(find(&store, "ÈRE 1 600").await.1, 0);
    assert_eq!(find(&store, "gÈRE 1600").await.0, ["ÉTAGÈRE 1600"]);
    let changed: i64 = sqlx::query_scalar("SELECT count(*) FROM products WHERE version <> 1")
        .fetch_one(store.pool())
        .await
        .unwrap();
    assert_eq!(changed, 0, "nobody changed a product");
    assert_eq!(store.fold_names().await.unwrap(), 0);
}

/// A row that is locked holds up no start, and is found by its letters of ASCII meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_product_holds_up_nobody_who_folds() {
    let url = older_postgres().await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    let migrations = sqlx::migrate!("./migrations/postgres");
    migrations.run(&mut other).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("UPDATE products SET stock = 2 WHERE name = 'ÉTAGÈRE 700'")
        .execute(&mut *lock)
        .await
        .unwrap();

    let store = PostgresStore::connect(&url).await.unwrap();
    let start = Instant::now();
    store.migrate().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(find(&store, "étagère 700").await.1, 0);
    assert_eq!(
        find(&store, "TAG").await.1,
        count(&store, "étagère").await + 1
    );
    assert_eq!(find(&store, "re 700").await.0, ["ÉTAGÈRE 700"]);
    assert_eq!(find(&store, "étagère 701").await.0, ["ÉTAGÈRE 701"]);

    lock.commit().await.unwrap();
    assert_eq!(store.fold_names().await.unwrap(), 1);
    assert_eq!(find(&store, "étagère 700").await.0, ["ÉTAGÈRE 700"]);
}

/// An older version goes on for a while beside this one: it adds products and renames others.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_writes_to_postgres_is_found() {
    let store = PostgresServer::shared().store().await;
    let run = async |statement: &'static str| {
        sqlx::query(statement).execute(store.pool()).await.unwrap();
    };
    sqlx::query(FILL_POSTGRES)
        .bind(6_i64)
        .execute(store.pool())
        .await
        .unwrap();
    assert_eq!(store.fold_names().await.unwrap(), 4);
    run("UPDATE products SET name = 'ÄPFEL 1' WHERE name = 'ÉTAGÈRE 1'").await;
    run("UPDATE products SET name = 'CHAIR 2' WHERE name = 'ÉTAGÈRE 2'").await;
    run("UPDATE products SET name = 'ÖL 3' WHERE name = 'LAMP 3'").await;
    written_past_this_version(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_writes_to_sqlite_is_found() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let other = SqlitePool::connect(&url).await.unwrap();
    let run = async |statement: &'static str| {
        sqlx::query(statement).execute(&other).await.unwrap();
    };
    let fill = sqlx::query(FILL_SQLITE).bind(6_i64);
    fill.execute(&other).await.unwrap();
    assert_eq!(store.fold_names().await.unwrap(), 4);
    run("UPDATE products SET name = 'ÄPFEL 1' WHERE name = 'ÉTAGÈRE 1'").await;
    run("UPDATE products SET name = 'CHAIR 2' WHERE name = 'ÉTAGÈRE 2'").await;
    run("UPDATE products SET name = 'ÖL 3' WHERE name = 'LAMP 3'").await;
    written_past_this_version(&store).await;
}

async fn written_past_this_version(store: &dyn ProductStore) {
    // A name of ASCII is found at once, and none by what it was.
    for (part, found) in [
        ("étagère 1", 0),
        ("étagère 2", 0),
        ("chair", 1),
        ("lamp", 1),
    ] {
        assert_eq!(count(store, part).await, found, "{part}");
    }
    // The others by their letters of ASCII, until somebody folds them.
    assert_eq!(count(store, "pfel 1").await, 1);
    assert_eq!(count(store, "äpfel 1").await, 0);
    assert_eq!(store.fold_names().await.unwrap(), 2);
    for (part, found) in [("äpfel", 1), ("öL", 1), ("étagère", 2), ("lamp", 1)] {
        assert_eq!(count(store, part).await, found, "{part}");
    }
    assert_eq!(store.fold_names().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_before_are_found_as_soon_as_sqlite_is_migrated() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = dir.path().join("orders.db");
    let url = format!("sqlite://{}", file.display());
    let pool = SqlitePool::connect(&format!("{url}?mode=rwc"))
        .await
        .unwrap();
    let migrations = sqlx::migrate!("./migrations/sqlite");
    migrations.run_to(BEFORE, &pool).await.unwrap();
    let fill = sqlx::query(FILL_SQLITE).bind(NAMES);
    fill.execute(&pool).await.unwrap();
    pool.close().await;

    let start = async || {
        let store = SqliteStore::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        (count(&store, "étagère").await, store)
    };
    let ((first, store), (second, _)) = tokio::join!(start(), start());
    let expected = u64::try_from(NAMES - NAMES / 3).unwrap();
    assert_eq!((first, second), (expected, expected));
    assert_eq!(count(&store, "lamp").await, NAMES.unsigned_abs() / 3);
    assert_eq!(find(&store, "gÈRE 1600").await.0, ["ÉTAGÈRE 1600"]);
    assert_eq!(store.fold_names().await.unwrap(), 0);
}
