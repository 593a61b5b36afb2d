//! A minute of purchases by many clients, and the tasks of what they buy: what the server as it is
//! started without any setting can keep up, against the same server without tasks.

use std::time::{Duration, Instant};

use order_core::{
    bench::{Figures, Sample, median},
    testing::PostgresServer,
};
use orders_benches::{
    http::{Amount, Connection, load},
    server::{ServerProcess, all_completed, completed},
};

use super::{Bar, Measured, Place};

const MINUTE: Duration = Duration::from_secs(60);
/// Selling alone is steady sooner.
const ALONE: Duration = Duration::from_secs(15);
const CONNECTIONS: usize = 512;
/// A run of both takes up to two minutes.
const MOST_RUNS: usize = 3;

struct Run {
    sold: Sample,
    /// In the time in which it was sold.
    completed: Sample,
    drained: Sample,
    left: usize,
}

/// On Postgres, each time in a new database.
pub async fn on_postgres(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    measured("sustained-postgres", &Place::Postgres(&postgres), runs).await
}

/// On `SQLite`, each time in a new file.
pub async fn on_sqlite(runs: usize) -> anyhow::Result<Measured> {
    measured("sustained-sqlite", &Place::Sqlite, runs).await
}

async fn measured(name: &str, place: &Place<'_>, runs: usize) -> anyhow::Result<Measured> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let (mut alone, mut with_tasks) = (Vec::new(), Vec::new());
    for _ in 0..runs.min(MOST_RUNS) {
        alone.push(sell_alone(place).await?);
        with_tasks.push(run(place).await?);
    }
    let figures = |sample: fn(&Run) -> &Sample| {
        let samples: Vec<Sample> = with_tasks.iter().map(sample).cloned().collect();
        Figures::of(&samples)
    };
    let left: Vec<f64> = with_tasks.iter().map(|run| run.left as f64).collect();
    let left = median(&left);
    let rows = vec![
        ("sold, PROCESSOR=off, 15 s".to_owned(), Figures::of(&alone)),
        ("sold, defaults, 60 s".to_owned(), figures(|run| &run.sold)),
        (
            "completed meanwhile".to_owned(),
            figures(|run| &run.completed),
        ),
        (
            format!("completed after it, {left:.0}"),
            figures(|run| &run.drained),
        ),
    ];
    let mut measured = Measured::new(name, rows);
    let [alone, sold, completed] = [0, 1, 2].map(|row| measured.rows[row].1.orders_per_second);
    measured.claim(
        "sold and completed with tasks / sold without",
        completed / alone,
        Bar::AtLeast(0.6),
    );
    measured.claim(
        "tasks left, in seconds of sales",
        left / sold,
        Bar::AtMost(5.0),
    );
    Ok(measured)
}

async fn sell_alone(place: &Place<'_>) -> anyhow::Result<Sample> {
    let (url, _dir) = place.url().await?;
    let server = ServerProcess::start_with_settings(&url, &[("PROCESSOR", "off")]).await?;
    let purchase = server.order("/api/v1/orders/purchase", 201);
    load(
        &[server.address],
        &purchase,
        CONNECTIONS,
        Amount::Time(ALONE),
        1,
    )
    .await
}

async fn run(place: &Place<'_>) -> anyhow::Result<Run> {
    let (url, _dir) = place.url().await?;
    let server = ServerProcess::start_without_settings(&url).await?;
    let purchase = server.order("/api/v1/orders/purchase", 201);
    let sold = load(
        &[server.address],
        &purchase,
        CONNECTIONS,
        Amount::Time(MINUTE),
        1,
    )
    .await?;
    let ended = Instant::now();
    let mut connection = Connection::open(server.address).await?;
    let meanwhile = completed(&mut connection).await?;
    let left = sold.orders.saturating_sub(meanwhile);
    all_completed(server.address, sold.orders).await?;
    let sample = |orders, elapsed| Sample {
        orders,
        elapsed,
        latencies: Vec::new(),
    };
    Ok(Run {
        completed: sample(meanwhile, sold.elapsed),
        drained: sample(left, ended.elapsed()),
        left,
        sold,
    })
}
