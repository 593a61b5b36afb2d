//! The schema on Postgres: what it says about itself, and who may do what with it.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{collections::BTreeSet, sync::Arc};

use chrono::TimeDelta;
use order_core::{
    OrderService,
    audit::AuditStore,
    clock::{Clock, ManualClock, SystemClock},
    domain::{OrderRequest, ProductRequest, Quantity},
    history::ArchiveOptions,
    store::{PostgresStore, Store},
    testing::{
        PostgresServer, PostgresTime,
        conformance::{self, Time},
    },
};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::Mutex;

const ROLES: &str = include_str!("../../../scripts/roles.sql");
const PAGE: &str = include_str!("../../../docs/DATABASE.md");

#[tokio::test]
async fn every_table_and_column_says_what_it_is() {
    let store = PostgresServer::shared().store().await;
    let silent: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || coalesce('.' || a.attname, '')
         FROM pg_class c
         LEFT JOIN LATERAL (SELECT NULL::name AS attname, 0 AS attnum UNION ALL
                            SELECT attname, attnum FROM pg_attribute
                            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
                              AND c.relname <> 'order_tallies') a ON true
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v')
           AND c.relname <> '_sqlx_migrations' AND col_description(c.oid, a.attnum) IS NULL
         ORDER BY 1",
    )
    .fetch_all(store.pool())
    .await
    .unwrap();
    assert_eq!(silent, [""; 0]);
    let unitless: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || '.' || a.attname FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v')
           AND a.attname LIKE '%price' AND col_description(c.oid, a.attnum) !~ 'units|quantity'",
    )
    .fetch_all(store.pool())
    .await
    .unwrap();
    assert_eq!(unitless, [""; 0]);
}

/// Each table is in the picture of the documentation, with columns that it has, of their types.
#[tokio::test]
async fn the_picture_of_the_tables_is_that_of_the_schema() {
    let store = PostgresServer::shared().store().await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.relname::text, format_type(a.atttypid, NULL) || ' ' || a.attname
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND c.relname <> '_sqlx_migrations' AND a.attnum > 0 AND NOT a.attisdropped",
    )
    .fetch_all(store.pool())
    .await
    .unwrap();
    let picture = PAGE.split("erDiagram").nth(1).unwrap();
    let picture = picture.split("```").next().unwrap();
    let mut tables = BTreeSet::new();
    for drawn in picture.split("    }\n") {
        let Some((before, fields)) = drawn.split_once(" {\n") else {
            continue;
        };
        let table = before.lines().last().unwrap().trim();
        for field in fields.lines() {
            let mut words = field.split_whitespace();
            let (ty, name) = (words.next().unwrap(), words.next().unwrap());
            let ty = ty.replace("timestamptz", "timestamp with time zone");
            let column = (table.to_owned(), format!("{ty} {name}"));
            assert!(columns.contains(&column), "{column:?} is drawn");
        }
        tables.insert(table);
    }
    let there: BTreeSet<&str> = columns.iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(tables, there);
}

#[tokio::test]
async fn the_views_tell_what_was_sold_and_where_stock_went() {
    let store = PostgresServer::shared().store().await;
    let shop = OrderService::builder(Arc::new(store.clone())).build();
    let lamp = ProductRequest::new("Lamp", "19.99".parse().unwrap(), 10, None).unwrap();
    let lamp = shop.create_product(lamp).await.unwrap().id;
    let order = |pieces| OrderRequest::one(lamp, Quantity::new(pieces).unwrap());
    let sold = shop.purchase(order(3)).await.unwrap().id;
    let back = shop.purchase(order(2)).await.unwrap().id;
    shop.cancel(back).await.unwrap();
    shop.accept(order(1)).await.unwrap();
    let sales: Vec<(uuid::Uuid, i32, String, String)> =
        sqlx::query_as("SELECT order_id, quantity, unit_price::text, line_price::text FROM sales")
            .fetch_all(store.pool())
            .await
            .unwrap();
    let expected = (sold.0, 3, "19.99".to_owned(), "59.97".to_owned());
    assert_eq!(sales, [expected]);
    let ledger: Vec<(String, i64)> =
        sqlx::query_as("SELECT kind, delta::bigint FROM stock_ledger ORDER BY kind")
            .fetch_all(store.pool())
            .await
            .unwrap();
    let expected = [("adjustment".to_owned(), 10), ("sale".to_owned(), -3)];
    assert_eq!(ledger, expected);
    let refused = sqlx::query("UPDATE sales SET quantity = 1").execute(store.pool());
    refused.await.unwrap_err();
}

/// The URL of a database for another role.
fn as_role(url: &str, role: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (_, host) = rest.split_once('@').unwrap();
    format!("{scheme}://{role}@{host}")
}

async fn execute(url: &str, sql: &str) {
    let pool = PgPool::connect(url).await.unwrap();
    let statements = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(statements).execute(&pool).await.unwrap();
    pool.close().await;
}

/// The database that the others are copies of, once it is made, and how many they are.
static TEMPLATE: Mutex<(Option<String>, u32)> = Mutex::const_new((None, 0));

/// A database that the role of the owner migrated; the role of the programs has its rights.
async fn with_roles() -> String {
    let server = PostgresServer::shared();
    let mut made = TEMPLATE.lock().await;
    if made.0.is_none() {
        let url = server.empty_database().await;
        execute(&url, ROLES).await;
        let owner = PostgresStore::connect(&as_role(&url, "orders_owner")).await;
        let owner = owner.unwrap();
        owner.migrate().await.unwrap();
        owner.pool().close().await;
        execute(&url, ROLES).await;
        made.0 = url.rsplit_once('/').map(|(_, name)| name.to_owned());
    }
    made.1 += 1;
    let (name, template) = (format!("roles_{}", made.1), made.0.as_ref().unwrap());
    let copy = format!("CREATE DATABASE {name} TEMPLATE {template}");
    server.execute(copy).await;
    server.url(&name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_the_programs_sells_and_rewrites_nothing() {
    let url = with_roles().await;
    let app = PostgresStore::connect(&as_role(&url, "orders_app"))
        .await
        .unwrap();
    let who: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(app.pool())
        .await
        .unwrap();
    assert_eq!(who, "orders_app");
    app.check_writable().await.unwrap();
    let shop = OrderService::builder(Arc::new(app.clone())).build();
    let lamp = ProductRequest::new("Lamp", "1".parse().unwrap(), 5, None).unwrap();
    let lamp = shop.create_product(lamp).await.unwrap().id;
    let order = OrderRequest::one(lamp, Quantity::new(2).unwrap());
    shop.purchase(order).await.unwrap();
    assert_eq!(shop.verify().await.unwrap(), []);
    assert_eq!(
        app.audit_entries(&Default::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    for statement in [
        "DELETE FROM orders",
        "DELETE FROM products",
        "UPDATE order_lines SET quantity = 1",
        "UPDATE stock_adjustments SET delta = 1",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "ALTER TABLE audit_log DISABLE TRIGGER audit_log_stays",
        "DROP TRIGGER orders_stay ON orders",
        "DROP TABLE workers",
        "CREATE TABLE mine (id integer)",
        "DELETE FROM api_keys",
        "DELETE FROM _sqlx_migrations",
        "DELETE FROM archived_purchases",
        "UPDATE archived_sales SET kept = 0",
    ] {
        let refused = sqlx::query(statement)
            .execute(app.pool())
            .await
            .unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
    }
}

/// History is deleted by whoever owns it, and nobody else even begins to.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_archives_and_the_programs_do_not() {
    let url = with_roles().await;
    let [app, owner] = ["orders_app", "orders_owner"].map(|role| as_role(&url, role));
    let app = PostgresStore::connect(&app).await.unwrap();
    let long_ago = SystemClock.now() - TimeDelta::days(60);
    let shop = OrderService::builder(Arc::new(app.clone()));
    let shop = shop.clock(Arc::new(ManualClock::new(long_ago))).build();
    let lamp = ProductRequest::new("Lamp", "1".parse().unwrap(), 5, None).unwrap();
    let lamp = shop.create_product(lamp).await.unwrap().id;
    let order = OrderRequest::one(lamp, Quantity::new(2).unwrap());
    let order = order.for_customer(Some("ada".to_owned())).unwrap();
    for _ in 0..2 {
        let order = shop.purchase(order.clone()).await.unwrap().id;
        shop.cancel(order).await.unwrap().unwrap();
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let files = dir.path().join("archive");
    let options = ArchiveOptions::new(SystemClock.now() - TimeDelta::days(40), &files);
    let refused = shop.archive(options.clone()).await.unwrap_err();
    assert!(
        refused.with_causes().contains("permission denied"),
        "{refused:?}"
    );
    let written = std::fs::read_dir(&files).unwrap();
    let written = written.filter(|file| file.as_ref().unwrap().file_name() != ".lock");
    assert_eq!(written.count(), 0);

    let owner = PostgresStore::connect(&owner).await.unwrap();
    let owner = OrderService::builder(Arc::new(owner)).build();
    assert_eq!(owner.archive(options).await.unwrap().orders, 2);
    owner.erase_customer("ada").await.unwrap();
    assert_eq!(shop.verify().await.unwrap(), []);
}

/// Everything that a store does, by the role of the programs.
#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_the_programs_has_every_right_that_they_need() {
    conformance::store(async || {
        let url = with_roles().await;
        let app = PostgresStore::connect(&as_role(&url, "orders_app"))
            .await
            .unwrap();
        let time: Arc<dyn Time> = Arc::new(PostgresTime::new(&url));
        (Arc::new(app) as Arc<dyn Store>, time)
    })
    .await;
}
