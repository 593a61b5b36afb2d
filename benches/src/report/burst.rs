//! A burst of purchases, and one client that buys right after it, while the tasks of what was
//! sold are done: the server as it is started without any setting.

use std::time::{Duration, Instant};

use anyhow::ensure;
use order_core::{
    bench::{Figures, Sample, median},
    testing::PostgresServer,
};
use orders_benches::{
    http::{Amount, Connection, Request, load},
    server::{LOOK_EVERY, ServerProcess, completed},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Bar, Measured, sqlite_file};

const IDLE: Duration = Duration::from_secs(4);
const BURST: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 512;
/// A run takes up to two minutes.
const MOST_RUNS: usize = 3;
/// The time limit for the tasks.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);
/// The number of tasks that the reported time is for.
const TASKS: f64 = 40_000.0;

/// The answers that one client and many get, and the tasks that follow.
struct Run {
    idle: Sample,
    burst: Sample,
    behind: Sample,
    drain: Sample,
    /// Tasks that were not done when the burst ended.
    left: usize,
}

/// The tasks that were completed `at` this time after the burst.
struct Progress {
    at: Duration,
    completed: usize,
}

/// On Postgres, each time in a new database.
pub async fn on_postgres(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let mut all = Vec::new();
    for _ in 0..runs.min(MOST_RUNS) {
        all.push(run(&postgres.database().await).await?);
    }
    Ok(measured("http-burst-postgres", &all))
}

/// On `SQLite`, each time in a new file.
pub async fn on_sqlite(runs: usize) -> anyhow::Result<Measured> {
    let mut all = Vec::new();
    for _ in 0..runs.min(MOST_RUNS) {
        let (_dir, url) = sqlite_file()?;
        all.push(run(&url).await?);
    }
    Ok(measured("http-burst-sqlite", &all))
}

fn measured(name: &str, runs: &[Run]) -> Measured {
    let figures = |sample: fn(&Run) -> &Sample| {
        let samples: Vec<Sample> = runs.iter().map(sample).cloned().collect();
        Figures::of(&samples)
    };
    let left: Vec<f64> = runs.iter().map(|run| run.left as f64).collect();
    let rows = vec![
        ("one client, idle".to_owned(), figures(|run| &run.idle)),
        ("512 connections".to_owned(), figures(|run| &run.burst)),
        (
            format!("tasks: {:.0} left", median(&left)),
            figures(|run| &run.drain),
        ),
        (
            "one client meanwhile".to_owned(),
            figures(|run| &run.behind),
        ),
    ];
    let mut measured = Measured::new(name, rows);
    let [idle, _, tasks, behind] = [0, 1, 2, 3].map(|row| measured.rows[row].1);
    let p50 = behind.p50_ms / idle.p50_ms;
    let p99 = behind.p99_ms / idle.p99_ms;
    measured.claim("p50 of one client, meanwhile / idle", p50, Bar::AtMost(2.0));
    measured.claim("p99 of one client, meanwhile / idle", p99, Bar::AtMost(4.0));
    let seconds = TASKS / tasks.orders_per_second;
    measured.claim("40 000 tasks are done in, s", seconds, Bar::AtMost(20.0));
    measured
}

async fn run(url: &str) -> anyhow::Result<Run> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let server = ServerProcess::start_without_settings(url).await?;
    let purchase = server.order("/api/v1/orders/purchase", 201);
    let buy = async |connections, time| {
        let amount = Amount::Time(time);
        load(&[server.address], &purchase, connections, amount, 1).await
    };
    let warm = buy(1, Duration::from_secs(1)).await?;
    let idle = buy(1, IDLE).await?;
    let burst = buy(CONNECTIONS, BURST).await?;
    let ended = Instant::now();
    let sold = warm.orders + idle.orders + burst.orders;

    let drained = CancellationToken::new();
    let tasks = async {
        let _ends_the_other = drained.clone().drop_guard();
        done(&server, sold, ended).await
    };
    let behind = buy_until(&server, &purchase, drained.clone());
    let (progress, behind) = tokio::try_join!(tasks, behind)?;
    let (first, last) = (&progress[0], &progress[progress.len() - 1]);
    Ok(Run {
        idle,
        burst,
        behind,
        drain: Sample {
            orders: last.completed - first.completed,
            elapsed: last.at - first.at,
            latencies: Vec::new(),
        },
        left: sold.saturating_sub(first.completed),
    })
}

/// Looks at the tasks until as many are done as were `sold` by the end of the burst: they are
/// done in the order of the sales.
async fn done(
    server: &ServerProcess,
    sold: usize,
    ended: Instant,
) -> anyhow::Result<Vec<Progress>> {
    let mut connection = Connection::open(server.address).await?;
    let mut seen: Vec<Progress> = Vec::new();
    while ended.elapsed() < DRAIN_LIMIT {
        let completed = completed(&mut connection).await?;
        let is_news = seen.last().is_none_or(|last| last.completed < completed);
        if is_news {
            let at = ended.elapsed();
            seen.push(Progress { at, completed });
        }
        if completed >= sold && seen.len() > 1 {
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    ensure!(seen.len() > 1, "no tasks were done in {DRAIN_LIMIT:?}");
    Ok(seen)
}

async fn buy_until(
    server: &ServerProcess,
    purchase: &Request,
    end: CancellationToken,
) -> anyhow::Result<Sample> {
    let mut connection = Connection::open(server.address).await?;
    let (start, mut latencies) = (Instant::now(), Vec::new());
    while !end.is_cancelled() {
        let sent = Instant::now();
        connection.send(purchase).await?;
        latencies.push(sent.elapsed());
    }
    Ok(Sample {
        orders: latencies.len(),
        elapsed: start.elapsed(),
        latencies,
    })
}
