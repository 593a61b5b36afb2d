//! Lists, when there is a lot to list: pages far back, and products by a part of their name.

use std::{sync::Arc, time::Instant};

use order_core::{
    bench::Sample,
    domain::{OrderId, OrderStatus, PageRequest, PageSize, PageStart, ProductId},
    store::{OrderQuery, PostgresStore, ProductQuery, SqliteStore, Store},
    testing::PostgresServer,
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Bar, Measured, sqlite_file, take_turns};

/// The page after so many orders is measured.
const ORDERS_BEFORE: i64 = 1_000_000;
const ORDERS: i64 = 1_100_000;
const PRODUCTS: i64 = 1_000_000;
const READS: usize = 100;
/// Of every order but each hundredth.
const HOT: Uuid = Uuid::from_u128(1);
/// Of each hundredth order.
const RARE: Uuid = Uuid::from_u128(2);

/// The id of the row with that number, oldest first.
fn id(number: i64) -> Uuid {
    let millis = u128::from(number.unsigned_abs());
    Uuid::from_u128(millis << 80 | 0x7000 << 64 | 0x8000_0000_0000_0000)
}

/// A page of orders at the front, and after a million of them, with each filter.
pub async fn orders(runs: usize) -> anyhow::Result<Vec<Measured>> {
    let postgres = PostgresServer::start(true);
    let store = postgres.store().await;
    fill_postgres(&store).await?;
    let mut all = vec![compare_pages("pages-postgres", Arc::new(store), runs).await?];
    let (_dir, url) = sqlite_file()?;
    let store = SqliteStore::connect(&url).await?;
    store.migrate().await?;
    fill_sqlite(&url).await?;
    all.push(compare_pages("pages-sqlite", Arc::new(store), runs).await?);
    Ok(all)
}

async fn compare_pages(name: &str, store: Arc<dyn Store>, runs: usize) -> anyhow::Result<Measured> {
    let all = OrderQuery::default();
    let with_status = |status| OrderQuery {
        status: Some(status),
        ..OrderQuery::default()
    };
    let of_product = |product| OrderQuery {
        product_id: Some(ProductId(product)),
        ..OrderQuery::default()
    };
    let by_reference = OrderQuery {
        reference: Some("reference".to_owned()),
        ..OrderQuery::default()
    };
    let filters = [
        ("all", all),
        ("success", with_status(OrderStatus::Success)),
        ("failed, 1 of 100", with_status(OrderStatus::Failed)),
        ("hot product", of_product(HOT)),
        ("product of 1 of 100", of_product(RARE)),
        ("reference", by_reference),
    ];
    let starts = [
        PageStart::First,
        PageStart::After(OrderId(id(ORDERS - ORDERS_BEFORE))),
    ];
    let names = filters
        .iter()
        .flat_map(|(name, _)| [format!("{name}: first"), format!("{name}: after 1 000 000")]);
    let rows = take_turns(names.collect(), runs, async |turn| {
        let query = OrderQuery {
            page: page(starts[turn % 2]),
            ..filters[turn / 2].1.clone()
        };
        sample(async || {
            let page = store.orders(&query).await?;
            anyhow::ensure!(
                page.items.len() == 20 && page.next.is_some(),
                "a whole page"
            );
            Ok(())
        })
        .await
    })
    .await?;
    let mut measured = Measured::new(name, rows);
    let ratios = measured.rows.chunks(2);
    let worst = ratios.map(|pair| pair[1].1.p50_ms / pair[0].1.p50_ms);
    let worst = worst.fold(0.0, f64::max);
    measured.claim("worst p50 after 1 000 000 / first", worst, Bar::AtMost(1.5));
    Ok(measured)
}

/// Products by a part of their name that many have, that few have, and that is short.
pub async fn search(runs: usize) -> anyhow::Result<Vec<Measured>> {
    let postgres = PostgresServer::start(true);
    let store = postgres.store().await;
    let mut session = session(&store).await?;
    sqlx::query(
        "INSERT INTO products (id, name, price, stock, created_at, updated_at)
         SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid,
                (ARRAY['Red', 'Blue', 'Oak', 'Steel', 'Large'])[1 + n % 5] || ' '
                || (ARRAY['lamp', 'chair', 'table', 'mug', 'vase', 'sofa', 'clock'])[1 + n % 7]
                || ' ' || md5(n::text) || CASE WHEN n = $1 / 2 THEN ' Zq' ELSE '' END,
                100, 1, now(), now()
         FROM generate_series(1, $1) n",
    )
    .bind(PRODUCTS)
    .execute(&mut session)
    .await?;
    sqlx::query("VACUUM ANALYZE products")
        .execute(&mut session)
        .await?;
    let mut on_postgres = find("search-postgres", Arc::new(store.clone()), runs).await?;
    let slowest = slowest_ms(&on_postgres);
    on_postgres.claim("slowest p50, ms", slowest, Bar::AtMost(50.0));

    let (_dir, url) = sqlite_file()?;
    let copy = SqliteStore::connect(&url).await?;
    copy.migrate().await?;
    copy_products(&store, &url).await?;
    // It has no index of names: what nobody has is looked for in all of them.
    let mut on_sqlite = find("search-sqlite", Arc::new(copy), runs.min(2)).await?;
    let slowest = slowest_ms(&on_sqlite);
    on_sqlite.claim("slowest p50, ms", slowest, Bar::AtMost(1_000.0));
    Ok(vec![on_postgres, on_sqlite])
}

fn slowest_ms(measured: &Measured) -> f64 {
    let p50s = measured.rows.iter().map(|(_, figures)| figures.p50_ms);
    p50s.fold(0.0, f64::max)
}

async fn find(name: &str, store: Arc<dyn Store>, runs: usize) -> anyhow::Result<Measured> {
    let (newest, middle) = (
        PageStart::First,
        PageStart::After(ProductId(id(PRODUCTS / 2 + 1))),
    );
    let parts = [
        ("common: lamp", "lamp", newest, 20),
        ("common, far back: lamp", "lamp", middle, 20),
        ("rare: c4ca4238a0b9", "C4ca4238a0b9", newest, 1),
        ("rare, far back: Zq", "zQ", middle, 1),
        ("short and common: e", "e", newest, 20),
        ("short and rare: zq", "zq", newest, 1),
        ("nowhere: zzz", "zzz", newest, 0),
        ("nowhere: ~", "~", newest, 0),
    ];
    let names = parts.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let rows = take_turns(names, runs, async |turn| {
        let (_, part, start, found) = parts[turn];
        let query = ProductQuery {
            search: Some(part.to_owned()),
            page: page(start),
            ..ProductQuery::default()
        };
        sample(async || {
            let page = store.products(&query).await?;
            anyhow::ensure!(page.items.len() == found, "{part}: {}", page.items.len());
            Ok(())
        })
        .await
    })
    .await?;
    Ok(Measured::new(name, rows))
}

fn page<Id: Copy>(start: PageStart<Id>) -> PageRequest<Id> {
    PageRequest {
        size: PageSize::default(),
        start,
    }
}

async fn sample(read: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Sample> {
    let start = Instant::now();
    let mut latencies = Vec::with_capacity(READS);
    // A slow one is not read as often.
    while latencies.len() < READS && (latencies.len() < 5 || start.elapsed().as_secs() < 3) {
        let sent = Instant::now();
        read().await?;
        latencies.push(sent.elapsed());
    }
    Ok(Sample {
        orders: latencies.len(),
        elapsed: start.elapsed(),
        latencies,
    })
}

/// A session without the limits of those of a store, which end what takes as long as filling.
async fn session(store: &PostgresStore) -> anyhow::Result<PgConnection> {
    let session = PgConnection::connect_with(&store.pool().connect_options()).await?;
    Ok(session)
}

async fn fill_postgres(store: &PostgresStore) -> anyhow::Result<()> {
    let mut session = session(store).await?;
    sqlx::query(
        "INSERT INTO products (id, name, price, stock, created_at, updated_at)
         SELECT id, 'p', 100, 1, now(), now() FROM unnest($1::uuid[]) id",
    )
    .bind(vec![HOT, RARE])
    .execute(&mut session)
    .await?;
    // In parts, so that no statement holds too much.
    for part in 0..11 {
        sqlx::query(
            "WITH made AS MATERIALIZED (
                 SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid AS id,
                        to_timestamp(n / 1000.0) AS at, n
                 FROM generate_series($1::bigint + 1, $1 + $2) AS n),
             inserted AS (
                 INSERT INTO orders (id, status, total_price, reference, failure_code,
                     failure_product_id, failure_requested, failure_available,
                     created_at, decided_at)
                 SELECT id, (CASE WHEN n % 100 = 7 THEN 'failed' ELSE 'success' END)::order_status,
                        100, CASE WHEN n % 100 = 3 THEN 'reference' END,
                        CASE WHEN n % 100 = 7 THEN 'insufficient_stock' END,
                        CASE WHEN n % 100 = 7 THEN $3 END, CASE WHEN n % 100 = 7 THEN 1 END,
                        CASE WHEN n % 100 = 7 THEN 0 END, at, at
                 FROM made)
             INSERT INTO order_lines
             SELECT id, 1, CASE WHEN n % 100 = 0 THEN $4 ELSE $3 END, 1, 100 FROM made",
        )
        .bind(part * (ORDERS / 11))
        .bind(ORDERS / 11)
        .bind(HOT)
        .bind(RARE)
        .execute(&mut session)
        .await?;
    }
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        sqlx::query(statement).execute(&mut session).await?;
    }
    Ok(())
}

/// The same in a file.
async fn fill_sqlite(url: &str) -> anyhow::Result<()> {
    let pool = sqlx::SqlitePool::connect(url).await?;
    for product in [HOT, RARE] {
        sqlx::query(
            "INSERT INTO products (id, name, price, stock, created_at, updated_at)
             VALUES (?1, 'p', 100, 1, 0, 0)",
        )
        .bind(product)
        .execute(&pool)
        .await?;
    }
    let mut tx = pool.begin().await?;
    sqlx::query(
        "WITH RECURSIVE made (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM made WHERE n < ?1)
         INSERT INTO orders (id, status, total_price, reference, failure_code,
             failure_product_id, failure_requested, failure_available, created_at, decided_at)
         SELECT unhex(printf('%012x', n) || '70008000000000000000'),
                CASE WHEN n % 100 = 7 THEN 'failed' ELSE 'success' END, 100,
                CASE WHEN n % 100 = 3 THEN 'reference' END,
                CASE WHEN n % 100 = 7 THEN 'insufficient_stock' END,
                CASE WHEN n % 100 = 7 THEN ?2 END, CASE WHEN n % 100 = 7 THEN 1 END,
                CASE WHEN n % 100 = 7 THEN 0 END, n * 1000, n * 1000
         FROM made",
    )
    .bind(ORDERS)
    .bind(HOT)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "WITH RECURSIVE made (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM made WHERE n < ?1)
         INSERT INTO order_lines (order_id, line_no, product_id, quantity, unit_price)
         SELECT unhex(printf('%012x', n) || '70008000000000000000'), 1,
                CASE WHEN n % 100 = 0 THEN ?3 ELSE ?2 END, 1, 100
         FROM made",
    )
    .bind(ORDERS)
    .bind(HOT)
    .bind(RARE)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

async fn copy_products(from: &PostgresStore, to: &str) -> anyhow::Result<()> {
    let pool = sqlx::SqlitePool::connect(to).await?;
    let rows: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, name FROM products ORDER BY id")
        .fetch_all(from.pool())
        .await?;
    let mut tx = pool.begin().await?;
    for (id, name) in rows {
        sqlx::query(
            "INSERT INTO products (id, name, price, stock, created_at, updated_at)
             VALUES (?1, ?2, 100, 1, 0, 0)",
        )
        .bind(id)
        .bind(name)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}
