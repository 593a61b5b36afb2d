//! Five times what the server can do.

use std::time::Duration;

use order_core::{
    bench::{Figures, Sample},
    domain::MAX_STOCK,
    store::Strategy,
    testing::PostgresServer,
};
use orders_benches::{
    http::{Amount, load},
    open_loop::{Answer, open_loop},
    server::ServerProcess,
};
use tokio::time::sleep;

use super::{Bar, Measured};

const OVERLOAD: Duration = Duration::from_secs(30);
const AFTERWARDS: Duration = Duration::from_secs(6);
/// Recovery is looked at in steps of this.
const WINDOW: Duration = Duration::from_millis(500);
/// More than are ever under way.
const CONNECTIONS: usize = 1_024;

/// One product, a row lock for each order, and commits that take their time: a few hundred
/// orders a second are all that there is, so that five times as many are nothing to send.
pub async fn overload() -> anyhow::Result<Measured> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let postgres = PostgresServer::start(true);
    let url = postgres.database().await;
    slow_down_commits(&url).await?;
    let server = ServerProcess::start_with(&url, Strategy::RowLock, MAX_STOCK, &[]).await?;
    let purchase = server.order("/api/v1/orders/purchase", 201);
    let five_seconds = Amount::Time(Duration::from_secs(5));
    let sustained = load(&[server.address], &purchase, 32, five_seconds, 1).await?;
    let rate = sustained.rate();

    let send = async |per_second, time| {
        open_loop(server.address, &purchase, CONNECTIONS, per_second, time).await
    };
    let afterwards = async {
        sleep(OVERLOAD).await;
        send(0.8 * rate, AFTERWARDS).await
    };
    let overload = send(5.0 * rate, OVERLOAD);
    let (answers, after, resident_mib) =
        tokio::try_join!(overload, afterwards, largest_mib(&server))?;

    let (sold, refused) = (
        sample(&answers, 201, OVERLOAD),
        sample(&answers, 503, OVERLOAD),
    );
    let others = answers.len() - sold.orders - refused.orders;
    let rows = vec![
        (
            "sustained, 32 connections".to_owned(),
            Figures::of(&[sustained]),
        ),
        ("sold at 5 times that".to_owned(), Figures::of(&[sold])),
        ("refused meanwhile".to_owned(), Figures::of(&[refused])),
        (
            "sold afterwards, at 0.8".to_owned(),
            Figures::of(&[sample(&after, 201, AFTERWARDS)]),
        ),
    ];
    let mut measured = Measured::new("http-overload", rows);
    let figures: Vec<Figures> = measured.rows.iter().map(|(_, figures)| *figures).collect();
    measured.claim(
        "p99 of what is sold, ms",
        figures[1].p99_ms,
        Bar::AtMost(1_000.0),
    );
    measured.claim(
        "p99 of what is refused, ms",
        figures[2].p99_ms,
        Bar::AtMost(50.0),
    );
    measured.claim(
        "sold / sustained",
        figures[1].orders_per_second / rate,
        Bar::AtLeast(0.8),
    );
    measured.claim("answers that are neither", others as f64, Bar::AtMost(0.0));
    measured.claim("largest, MiB", resident_mib, Bar::AtMost(150.0));
    measured.claim(
        "recovered after, s",
        recovery_secs(&after),
        Bar::AtMost(2.0),
    );
    Ok(measured)
}

async fn slow_down_commits(url: &str) -> anyhow::Result<()> {
    let pool = sqlx::PgPool::connect(url).await?;
    sqlx::query(
        "DO $$ BEGIN
             EXECUTE format('ALTER DATABASE %I SET commit_delay = 2000', current_database());
             EXECUTE format('ALTER DATABASE %I SET commit_siblings = 0', current_database());
         END $$",
    )
    .execute(&pool)
    .await?;
    Ok(())
}

fn sample(answers: &[Answer], status: u16, elapsed: Duration) -> Sample {
    let latencies: Vec<Duration> = answers
        .iter()
        .filter(|answer| answer.status == status)
        .map(|answer| answer.took)
        .collect();
    Sample {
        orders: latencies.len(),
        elapsed,
        latencies,
    }
}

/// Until nearly everything is sold.
fn recovery_secs(answers: &[Answer]) -> f64 {
    let last_refused = answers
        .chunk_by(|a, b| window(a) == window(b))
        .map(window_of)
        .filter(|(_, sold)| *sold < 0.95)
        .map(|(end_secs, _)| end_secs);
    last_refused.fold(0.0, f64::max)
}

fn window(answer: &Answer) -> u128 {
    answer.due.as_millis() / WINDOW.as_millis()
}

/// When a window ends, and which part of its requests was sold.
fn window_of(answers: &[Answer]) -> (f64, f64) {
    let sold = answers.iter().filter(|answer| answer.status == 201).count();
    let number = answers.first().map_or(0, window) as f64;
    (
        (number + 1.0) * WINDOW.as_secs_f64(),
        sold as f64 / answers.len() as f64,
    )
}

/// The most that the server holds while it is overloaded.
async fn largest_mib(server: &ServerProcess) -> anyhow::Result<f64> {
    let mut largest = 0.0_f64;
    for _ in 0..OVERLOAD.as_secs() {
        sleep(Duration::from_secs(1)).await;
        largest = largest.max(server.resident_mib()?);
    }
    Ok(largest)
}
