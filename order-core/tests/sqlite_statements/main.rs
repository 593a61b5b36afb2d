//! Every statement on `SQLite` finds its rows by a key, and costs the same however much waits.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod said;
mod shop;

use std::{path::PathBuf, sync::Arc};

use order_core::{
    store::{SqliteStore, Store},
    testing::{
        SqliteTime,
        conformance::{self, Time},
    },
};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use self::shop::Shop;

/// Tables that stay small: a row for each topic, worker, key of the API, span of time that is folded, or
/// file of the archive.
const SMALL: [&str; 6] = [
    "archive_files",
    "queue_pauses",
    "workers",
    "clients",
    "api_keys",
    "order_counters",
];
/// Tables that grow with what is sold, or with what waits.
const GROWING: [&str; 13] = [
    "archived_sales",
    "archived_purchases",
    "holds",
    "audit_log",
    "products",
    "stock_adjustments",
    "stock_returns",
    "orders",
    "order_lines",
    "queue_entries",
    "task_batches",
    "idempotency_keys",
    "process_attempts",
];

/// More steps than a round of anything may need on top of its factor: steps are counted by the
/// thousand.
const SLACK: u64 = 2_000;

fn new_file() -> PathBuf {
    // Kept for the life of the process: the store has no say when its file may go.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    dir.keep().join("orders.db")
}

async fn open(file: &std::path::Path) -> SqliteStore {
    let url = format!("sqlite://{}", file.display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn fresh() -> (SqliteStore, Arc<dyn Time>) {
    let file = new_file();
    let time = SqliteTime::new(&format!("sqlite://{}", file.display()));
    (open(&file).await, Arc::new(time))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_finds_its_rows_by_a_key_and_costs_the_same_whatever_waits() {
    said::listen();
    conformance::store(async || {
        let (store, time) = fresh().await;
        (Arc::new(store) as Arc<dyn Store>, time)
    })
    .await;
    conformance::queue(async || {
        let (store, time) = fresh().await;
        (Store::queue(&store).unwrap(), time)
    })
    .await;
    let said = said::taken();
    assert!(said.len() > 60, "{} statements were heard", said.len());

    let file = new_file();
    let mut shop = Shop::new(open(&file).await, &file).await;
    let mut connection = connect(&file).await;
    let faults = plan_faults(&mut connection, &said).await;
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));

    fill(&mut connection, 0, 1_000).await;
    let few = shop.costs().await;
    fill(&mut connection, 1_000, 100_000).await;
    said::taken();
    let many = shop.costs().await;
    shop.count().await;

    let costly: Vec<String> = few
        .iter()
        .zip(&many)
        .filter(|((_, few), (_, many))| **many > **few * 3 / 2 + SLACK)
        .map(|((what, few), (_, many))| format!("{what}: {few} steps, and then {many}"))
        .collect();
    assert!(costly.is_empty(), "{costly:#?} of {many:#?}");

    let measured = said::taken();
    let forgotten: Vec<&String> = said
        .iter()
        .filter(|statement| !measured.contains(*statement) && !reads_the_books(statement))
        .filter(|statement| !is_made_of_parts(statement) && !opens_the_file(statement))
        .collect();
    assert!(
        forgotten.is_empty(),
        "whose cost is not known: {forgotten:#?}"
    );
}

async fn connect(file: &std::path::Path) -> SqliteConnection {
    let url = format!("sqlite://{}", file.display());
    SqliteConnection::connect(&url).await.unwrap()
}

/// What is there to read everything.
fn reads_the_books(statement: &str) -> bool {
    statement.starts_with("/* verify */")
}

/// What a connection that is new asks for once, of a table that does not grow.
fn opens_the_file(statement: &str) -> bool {
    statement == "SELECT count(*) FROM sqlite_schema"
}

/// Lists of orders and of the audit log are put together from their filters: these are measured in some of their
/// combinations, and looked at in all.
fn is_made_of_parts(statement: &str) -> bool {
    let lists = [
        " FROM audit_log WHERE id < ",
        " FROM orders WHERE id < ",
        " FROM orders WHERE id > ",
        " FROM order_lines CROSS JOIN orders ",
    ];
    lists.iter().any(|list| statement.contains(list))
}

/// The statements that may read more than what they are about, with their plans.
async fn plan_faults(
    connection: &mut SqliteConnection,
    said: &std::collections::BTreeSet<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for statement in said.iter().filter(|said| !reads_the_books(said)) {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let steps: Vec<String> = rows.into_iter().map(|row| row.3).collect();
        let bad = steps.iter().find(|step| is_unbounded(statement, step));
        if let Some(bad) = bad {
            faults.push(format!("{bad}\n  of {statement}\n  {steps:#?}"));
        }
    }
    faults
}

/// Whether a step of a plan may read as many rows as a growing table has.
fn is_unbounded(statement: &str, step: &str) -> bool {
    if step.contains("AUTOMATIC") {
        return true;
    }
    // Holds what is still to be done: nothing, nearly always.
    if step.contains(" INDEX products_unfolded") {
        return false;
    }
    // What goes along a key to a limit ends there: what that costs is measured.
    let ends = statement.contains(" LIMIT ") && !statement.contains(" LIMIT -1");
    match step.split_whitespace().collect::<Vec<_>>()[..] {
        ["SCAN", name, ..] => !SMALL.contains(&name) && is_a_table(statement, name) && !ends,
        // All entries of a topic.
        ["SEARCH", name, ..] => is_a_table(statement, name) && step.ends_with("(topic=?)") && !ends,
        _ => false,
    }
}

/// Whether `name` is a table that grows, or what a statement calls one.
fn is_a_table(statement: &str, name: &str) -> bool {
    GROWING.iter().any(|table| {
        name == *table
            || statement.contains(&format!("{table} {name} "))
            || statement.contains(&format!("{table} AS {name} "))
    })
}

/// Orders in every state that waits for something, from number `from` up to `to`.
async fn fill(connection: &mut SqliteConnection, from: i64, to: i64) {
    let statements = [
        // Sold, with a task that is due; every tenth has one that was given up, every tenth one
        // whose lease goes on, and every tenth one whose lease ran out.
        "INSERT INTO orders (id, status, total_price, reference, created_at, decided_at)
         SELECT unhex(printf('0180%028x', n)), 'success', 100, 'reference', 1700000000000000 + n,
                1700000000000000 + n FROM numbers",
        "UPDATE queue_entries SET dead_at = 1700000000000000 + n, reason = 'no', runs = 1
         FROM numbers WHERE n % 10 = 1 AND topic = 'process'
           AND order_id = unhex(printf('0180%028x', n))",
        "UPDATE queue_entries SET visible_at = 2000000000000000 + n, claim_id = order_id, runs = 1
         FROM numbers WHERE n % 10 = 2 AND topic = 'process'
           AND order_id = unhex(printf('0180%028x', n))",
        "UPDATE queue_entries SET claim_id = order_id, runs = 1,
             visible_at = CASE WHEN n < 2000 AND n % 1000 < 320 THEN 1650000000000000 + n
                               ELSE visible_at END
         FROM numbers WHERE n % 10 = 3 AND topic = 'process'
           AND order_id = unhex(printf('0180%028x', n))",
        // Every tenth is packed: a few are due before all others, and most are claimed.
        "UPDATE orders SET task_batch = -n FROM numbers
         WHERE n % 10 = 4 AND id = unhex(printf('0180%028x', n))",
        "DELETE FROM queue_entries WHERE topic = 'process' AND order_id IN
            (SELECT unhex(printf('0180%028x', n)) FROM numbers WHERE n % 10 = 4)",
        "INSERT INTO task_batches (id, due_at, order_ids, tasks, claim_id)
         SELECT -n, CASE WHEN is_due THEN 1600000000000000 ELSE 2000000000000000 END + n,
                json_array(printf('0180%028x', n)), 1, CASE WHEN NOT is_due THEN randomblob(16) END
         FROM (SELECT n, n < 2000 AND n % 1000 < 320 AS is_due FROM numbers WHERE n % 10 = 4)",
        "INSERT INTO process_attempts (order_id, attempt, started_at, ended_at, error)
         SELECT unhex(printf('0180%028x', n)), 1, 1700000000000000, 1700000000000000, 'no'
         FROM numbers WHERE n % 10 = 1",
        // Pending, and offered.
        "INSERT INTO orders (id, status, total_price, created_at)
         SELECT unhex(printf('0181%028x', n)), 'pending', 100, 1700000000000000 + n
         FROM numbers",
        "INSERT INTO queue_entries (topic, order_id, visible_at)
         SELECT 'validate', unhex(printf('0181%028x', n)), 1700000000000000 + n
         FROM numbers",
        "INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
         SELECT orders.id, 1, (SELECT id FROM products ORDER BY id DESC LIMIT 1), 1, 100
         FROM numbers CROSS JOIN orders ON orders.id IN (unhex(printf('0180%028x', n)),
                                                         unhex(printf('0181%028x', n)))",
        // Held for long.
        "INSERT INTO orders (id, status, total_price, created_at, decided_at, customer, hold_seconds,
                             held_at, held_until)
         SELECT unhex(printf('0182%028x', n)), 'held', 100, 1700000000000000 + n,
                1700000000000000 + n, 'c' || n, 60, 1700000000000000 + n, 2000000000000000 + n
         FROM numbers",
        "INSERT INTO holds (order_id, product_id, held_until)
         SELECT unhex(printf('0182%028x', n)),
                (SELECT id FROM products ORDER BY id DESC LIMIT 1), 2000000000000000 + n
         FROM numbers",
        "INSERT INTO idempotency_keys (scope, key, fingerprint, target_id, created_at)
         SELECT zeroblob(16), 'k' || n, zeroblob(32), zeroblob(16), 1700000000000000
         FROM numbers",
        "INSERT INTO audit_log (id, at, action, subject)
         SELECT unhex(printf('0180%028x', n)), 1700000000000000 + n, 'order.cancel', 's' || (n % 10)
         FROM numbers",
        "INSERT INTO products (id, sku, name, price, stock, created_at, updated_at)
         SELECT unhex(printf('0179%028x', n)), 's' || n, 'n' || n, 100, 0, 0, 0
         FROM numbers",
    ];
    let numbers = format!(
        "CREATE TEMP VIEW numbers AS WITH RECURSIVE count(n) AS
             (SELECT {from} UNION ALL SELECT n + 1 FROM count WHERE n + 1 < {to})
         SELECT n FROM count"
    );
    let all = format!(
        "PRAGMA synchronous = off; {numbers}; BEGIN IMMEDIATE; {}; COMMIT; DROP VIEW numbers;",
        statements.join("; ")
    );
    sqlx::raw_sql(AssertSqlSafe(all))
        .execute(connection)
        .await
        .unwrap();
}
