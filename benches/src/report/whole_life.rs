//! Sales with what follows them, by a server as it is started without any setting: what a lone
//! client waits for, carts and many products, the tasks of a backlog, and bytes.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;
use order_core::{
    bench::{Figures, Sample},
    domain::MAX_STOCK,
    store::Strategy,
    testing::PostgresServer,
};
use orders_benches::{
    http::{Amount, Request, load, load_each},
    server::{ServerProcess, all_completed, binary},
};
use sqlx::{Connection as _, PgConnection};

use super::{Bar, Measured, Place, pgbench::Pgbench, take_turns};

const TURN: Duration = Duration::from_secs(5);
const MANY: usize = 512;
const PRODUCTS: usize = 1_000;
/// The lines of a cart.
const LINES: usize = 5;
/// The orders of one transaction after the other.
const SAMPLE: usize = 2_000;
const TASKS: usize = 200_000;
const ORDERS: usize = 300_000;
const CONCURRENCIES: [&str; 3] = ["64", "256", "1000"];
const BULK_ORDERS: usize = 10_000;
/// A run takes up to a minute.
const MOST_RUNS: usize = 3;

/// One client that buys over HTTP, against one that decides under a row lock by `pgbench`.
pub async fn lone(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let server = ServerProcess::start_without_settings(&postgres.database().await).await?;
    let pgbench = Pgbench::new(&postgres.database().await).await?;
    let purchase = server.order("/api/v1/orders/purchase", 201);
    let names = ["one client", "pgbench: row_lock x1"];
    let rows = take_turns(
        names.map(str::to_owned).to_vec(),
        runs,
        async |turn| match turn {
            0 => load(&[server.address], &purchase, 1, Amount::Time(TURN), 1).await,
            _ => pgbench.row_lock(1, SAMPLE).await,
        },
    )
    .await?;
    let mut measured = Measured::new("http-lone", rows);
    let p50 = measured.rows[0].1.p50_ms / measured.rows[1].1.p50_ms;
    measured.claim("p50 of one client / pgbench", p50, Bar::AtMost(1.25));
    Ok(measured)
}

/// A request that buys one piece of each of these products.
fn cart(products: &[String]) -> Request {
    let lines = products.iter();
    let lines = lines.map(|id| format!(r#"{{"product_id":"{id}","quantity":1}}"#));
    let lines = lines.collect::<Vec<_>>().join(",");
    let order = format!(r#"{{"lines":[{lines}]}}"#);
    Request::post("/api/v1/orders/purchase", &order, 201)
}

/// A server, what its clients buy, and what they have bought.
struct Shop {
    server: ServerProcess,
    carts: Vec<Request>,
    lines: usize,
    sold: usize,
}

impl Shop {
    /// One that sells one product, or carts of so many lines out of many products.
    async fn new(url: &str, lines: Option<usize>) -> anyhow::Result<Self> {
        let server = ServerProcess::start_without_settings(url).await?;
        let carts = match lines {
            None => vec![cart(std::slice::from_ref(&server.product))],
            Some(lines) => {
                let mut products = server.products(PRODUCTS).await?;
                let last = products[..lines].to_vec();
                products.extend(last);
                let carts = products.windows(lines).take(PRODUCTS);
                carts.map(cart).collect()
            }
        };
        Ok(Self {
            server,
            carts,
            lines: lines.unwrap_or(1),
            sold: 0,
        })
    }

    /// Many clients buy; each line counts. The tasks of what they bought are done afterwards,
    /// before others have their turn.
    async fn buy(&mut self) -> anyhow::Result<Sample> {
        let servers = [self.server.address];
        let time = Amount::Time(TURN);
        let sample = load_each(&servers, &self.carts, MANY, time, self.lines).await?;
        self.sold += sample.latencies.len();
        all_completed(self.server.address, self.sold).await?;
        Ok(sample)
    }
}

/// One product, many, and carts; `SQLite` beside Postgres.
pub async fn carts(runs: usize) -> anyhow::Result<Measured> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let postgres = PostgresServer::start(true);
    let (file, _dir) = Place::Sqlite.url().await?;
    let mut shops = [
        Shop::new(&postgres.database().await, None).await?,
        Shop::new(&postgres.database().await, Some(1)).await?,
        Shop::new(&postgres.database().await, Some(LINES)).await?,
        Shop::new(&file, None).await?,
    ];
    let names = [
        "one product",
        "1 000 products",
        "lines of carts of 5",
        "SQLite, one product",
    ];
    let mut samples = [const { Vec::new() }; 4];
    for _ in 0..runs.min(MOST_RUNS) {
        for (shop, samples) in shops.iter_mut().zip(&mut samples) {
            samples.push(shop.buy().await?);
        }
    }
    let figures = samples.iter().map(|samples| Figures::of(samples));
    let rows = names.map(str::to_owned).into_iter().zip(figures).collect();
    let mut measured = Measured::new("http-carts", rows);
    let [one, many, carts, sqlite] = names.map(|name| measured.rate(name));
    measured.claim("1 000 products / one", many / one, Bar::AtLeast(0.85));
    measured.claim("lines, carts of 5 / of 1", carts / many, Bar::AtLeast(2.0));
    measured.claim("SQLite / Postgres", sqlite / one, Bar::AtLeast(0.8));
    Ok(measured)
}

/// A request that accepts so many orders of one line.
fn bulk(server: &ServerProcess) -> Request {
    let order = format!(r#"{{"product_id":"{}","quantity":1}}"#, server.product);
    let orders = vec![order; BULK_ORDERS].join(",");
    let body = format!(r#"{{"orders":[{orders}]}}"#);
    Request::post("/api/v1/orders/bulk", &body, 202)
}

async fn accept(server: &ServerProcess, orders: usize) -> anyhow::Result<Sample> {
    let requests = Amount::Requests(orders / BULK_ORDERS);
    load(&[server.address], &bulk(server), 2, requests, BULK_ORDERS).await
}

/// How long `order-cli worker run --drain` takes with these settings.
fn drained(url: &str, settings: &[(&str, &str)]) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let status = Command::new(binary("order-cli")?)
        .args(["worker", "run", "--drain", "--database-url", url])
        .env_clear()
        .envs(settings.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "the worker ended with {status}");
    Ok(start.elapsed())
}

fn rate(orders: usize, elapsed: Duration) -> Sample {
    Sample {
        orders,
        elapsed,
        latencies: Vec::new(),
    }
}

/// On Postgres, each time in a new database.
pub async fn drain_on_postgres(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    drain("drain-postgres", &Place::Postgres(&postgres), runs).await
}

/// On `SQLite`, each time in a new file.
pub async fn drain_on_sqlite(runs: usize) -> anyhow::Result<Measured> {
    drain("drain-sqlite", &Place::Sqlite, runs).await
}

/// A worker that does no tasks decides a backlog; one without any setting does its tasks.
async fn drain(name: &str, place: &Place<'_>, runs: usize) -> anyhow::Result<Measured> {
    let (mut decided, mut done) = (Vec::new(), Vec::new());
    for _ in 0..runs.min(MOST_RUNS) {
        let (url, _dir) = place.url().await?;
        let server = ServerProcess::start(&url, Strategy::Batch).await?;
        accept(&server, TASKS).await?;
        drop(server);
        decided.push(rate(TASKS, drained(&url, &[("PROCESSOR", "off")])?));
        done.push(rate(TASKS, drained(&url, &[])?));
    }
    let rows = vec![
        ("decided, PROCESSOR=off".to_owned(), Figures::of(&decided)),
        ("tasks, defaults".to_owned(), Figures::of(&done)),
    ];
    let mut measured = Measured::new(name, rows);
    let ratio = measured.rate("tasks") / measured.rate("decided");
    measured.claim("tasks / decisions", ratio, Bar::AtLeast(0.3));
    Ok(measured)
}

/// The tasks of a backlog on Postgres, with so many attempts at once at most. Those that end at once
/// are as many a second with a few as with many.
pub async fn drain_by_concurrency(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let mut done = CONCURRENCIES.map(|_| Vec::new());
    for _ in 0..runs.min(MOST_RUNS) {
        for (concurrency, done) in CONCURRENCIES.iter().zip(&mut done) {
            let url = postgres.database().await;
            let server = ServerProcess::start(&url, Strategy::Batch).await?;
            accept(&server, TASKS).await?;
            drop(server);
            drained(&url, &[("PROCESSOR", "off")])?;
            let settings = [("PROCESS_CONCURRENCY", *concurrency)];
            done.push(rate(TASKS, drained(&url, &settings)?));
        }
    }
    let figures = done.iter().map(|samples| Figures::of(samples));
    let names = CONCURRENCIES.map(|concurrency| format!("PROCESS_CONCURRENCY={concurrency}"));
    let rows: Vec<(String, Figures)> = names.into_iter().zip(figures).collect();
    let rates: Vec<f64> = rows.iter().map(|(_, f)| f.orders_per_second).collect();
    let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let fastest = rates.iter().copied().fold(0.0, f64::max);
    let mut measured = Measured::new("drain-concurrency", rows);
    measured.claim("slowest / fastest", slowest / fastest, Bar::AtLeast(0.7));
    Ok(measured)
}

/// Many orders from their acceptance in bulk to the end of their tasks, against the acceptance
/// alone; and what each writes into the database and its log.
pub async fn bulk_to_completed(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let (mut accepted, mut completed, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs.min(MOST_RUNS) {
        let url = postgres.database().await;
        let off = ServerProcess::start_with(&url, Strategy::Batch, MAX_STOCK, &[]).await?;
        accepted.push(accept(&off, ORDERS).await?);
        drop(off);

        let url = postgres.database().await;
        let server = ServerProcess::start_without_settings(&url).await?;
        let (log, start) = (log_position(&url).await?, Instant::now());
        accept(&server, ORDERS).await?;
        all_completed(server.address, ORDERS).await?;
        completed.push(rate(ORDERS, start.elapsed()));
        bytes.push((log_position(&url).await? - log) / ORDERS as f64);
    }
    let rows = vec![
        ("accepted alone".to_owned(), Figures::of(&accepted)),
        ("accepted to completed".to_owned(), Figures::of(&completed)),
    ];
    let mut measured = Measured::new("bulk-completed", rows);
    let ratio = measured.rate("accepted to") / measured.rate("accepted alone");
    measured.claim("accepted to completed / accepted", ratio, Bar::AtLeast(0.5));
    let bytes = order_core::bench::median(&bytes);
    measured.claim(
        "bytes of the log for each order",
        bytes,
        Bar::AtMost(1_300.0),
    );
    Ok(measured)
}

/// The bytes that were written to the log since the cluster was made.
async fn log_position(url: &str) -> anyhow::Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let position = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8";
    Ok(sqlx::query_scalar(position)
        .fetch_one(&mut connection)
        .await?)
}
