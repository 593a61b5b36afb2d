//! Many holds of a product whose time is over at once, while it is sold.

use std::time::{Duration, Instant};

use anyhow::ensure;
use order_core::{
    bench::{Figures, Sample},
    clock::{Clock, SystemClock},
    store::{Strategy, connect},
    testing::PostgresServer,
};
use orders_benches::{
    holding::hold_orders,
    open_loop::{Answer, open_loop},
    server::ServerProcess,
};
use sqlx::PgPool;
use tokio::time::sleep;

use super::{Bar, Measured};

/// The sale, in an open loop: what clients ask for whatever else happens.
const PER_SECOND: f64 = 2_000.0;
const CONNECTIONS: usize = 512;
/// The sale before the holds lapse.
const BEFORE: Duration = Duration::from_secs(10);
/// All are gone by then, or the rate is far below the bar.
const LIMIT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A million in a minute.
const BAR: f64 = 1_000_000.0 / 60.0;

/// So many holds lapse.
pub async fn expire(holds: usize) -> anyhow::Result<Measured> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let postgres = PostgresServer::start(true);
    let url = postgres.database().await;
    let server = ServerProcess::start(&url, Strategy::Batch).await?;
    let (store, pool) = (connect(&url).await?, PgPool::connect(&url).await?);
    hold_orders(&store, server.product.parse()?, holds).await?;
    let lapse = lapse_at_once(&pool, holds).await?;

    let purchase = server.order("/api/v1/orders/purchase", 201);
    sleep(lapse.saturating_duration_since(Instant::now() + BEFORE)).await;
    let start = Instant::now();
    let lapsed_after = lapse.saturating_duration_since(start);
    // At half the rate of the bar, the sale goes on until all are gone.
    let time = BEFORE + Duration::from_secs_f64(2.0 * holds as f64 / BAR);
    let sale = open_loop(server.address, &purchase, CONNECTIONS, PER_SECOND, time);
    let (answers, gone) = tokio::try_join!(sale, all_gone(&pool, lapse))?;

    ensure!(
        answers.iter().all(|answer| answer.status == 201),
        "not all is sold"
    );
    let (before, rest): (Vec<Answer>, Vec<Answer>) = answers
        .into_iter()
        .partition(|answer| answer.due < lapsed_after);
    let is_meanwhile = |answer: &Answer| answer.due < lapsed_after + gone;
    let meanwhile: Vec<Answer> = rest.into_iter().filter(is_meanwhile).collect();
    let expired = Sample {
        orders: holds,
        elapsed: gone,
        latencies: Vec::new(),
    };
    let rows = vec![
        ("sold before".to_owned(), figures(&before, lapsed_after)),
        ("sold meanwhile".to_owned(), figures(&meanwhile, gone)),
        (format!("expired, {holds}"), Figures::of(&[expired])),
    ];
    let mut measured = Measured::new("expire-holds", rows);
    let p99 = measured.rows[1].1.p99_ms / measured.rows[0].1.p99_ms;
    measured.claim(
        "expired per second",
        measured.rate("expired"),
        Bar::AtLeast(BAR),
    );
    measured.claim("p99 of the sale, meanwhile / before", p99, Bar::AtMost(2.0));
    Ok(measured)
}

/// Makes all holds end at one time, which is still to come, and gives it.
async fn lapse_at_once(pool: &PgPool, holds: usize) -> anyhow::Result<Instant> {
    // It takes a minute for a million, and is over before.
    let wait = BEFORE + Duration::from_secs_f64(5.0 + holds as f64 / 10_000.0);
    let lapse = Instant::now() + wait;
    let until = SystemClock.now() + wait;
    for statement in [
        "UPDATE orders SET held_until = $1 WHERE held_until IS NOT NULL",
        "UPDATE holds SET held_until = $1",
        "UPDATE products SET lapses_at = $1",
    ] {
        sqlx::query(statement).bind(until).execute(pool).await?;
    }
    sqlx::query("VACUUM ANALYZE").execute(pool).await?;
    sqlx::query("CHECKPOINT").execute(pool).await?;
    ensure!(
        Instant::now() + BEFORE < lapse,
        "the holds were not ready in time"
    );
    Ok(lapse)
}

/// Waits until no hold is left; how long that takes from when they lapse.
async fn all_gone(pool: &PgPool, lapse: Instant) -> anyhow::Result<Duration> {
    loop {
        let left: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM holds)")
            .fetch_one(pool)
            .await?;
        if !left {
            return Ok(lapse.elapsed());
        }
        ensure!(lapse.elapsed() < LIMIT, "holds are left after {LIMIT:?}");
        sleep(LOOK_EVERY).await;
    }
}

fn figures(answers: &[Answer], elapsed: Duration) -> Figures {
    let sample = Sample {
        orders: answers.len(),
        elapsed,
        latencies: answers.iter().map(|answer| answer.took).collect(),
    };
    Figures::of(&[sample])
}
