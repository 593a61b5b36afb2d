//! Many minutes of what a server can keep up with room to spare: as it is started without any setting, on
//! Postgres, at seven tenths of what it sells and completes when it is asked for all that it can. What
//! is asked for comes in an open loop. Rate and latencies stay as they are, and so do the sizes of all
//! tables but those of orders, which grow by as much for each order.

use std::time::Duration;

use order_core::{
    bench::{Figures, Sample},
    testing::PostgresServer,
};
use orders_benches::{
    http::{Amount, Connection, load},
    open_loop::{Answer, open_loop},
    server::{ServerProcess, all_completed, completed},
};
use sqlx::{Connection as _, PgConnection};

use super::{Bar, Measured};

const MINUTE: Duration = Duration::from_secs(60);
const SATURATED: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 512;
const SHARE: f64 = 0.7;
const MIB: f64 = 1024.0 * 1024.0;

/// The tables that keep what was sold, with their indexes; and all others.
const SIZES: &str = "SELECT
         coalesce(sum(pg_total_relation_size(oid)) FILTER (WHERE kept), 0)::float8,
         coalesce(sum(pg_total_relation_size(oid)) FILTER (WHERE NOT kept), 0)::float8
     FROM (SELECT oid, relname IN ('orders', 'order_lines') AS kept FROM pg_class
           WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace) tables";

/// What was seen at the end of a minute.
struct Seen {
    sold: Sample,
    /// Tasks that were not done.
    left: usize,
    /// Bytes of the tables that grow.
    kept: f64,
    /// Bytes of the others.
    passing: f64,
    memory_mib: f64,
}

/// As many minutes as are given, and those before them in which the rate is found.
pub async fn soak(minutes: usize) -> anyhow::Result<Measured> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let postgres = PostgresServer::start(true);
    let url = postgres.database().await;
    let server = ServerProcess::start_without_settings(&url).await?;
    let purchase = server.order("/api/v1/orders/purchase", 201);
    let mut database = PgConnection::connect(&url).await?;
    // A connection that is idle for a minute is closed.
    let done = async || completed(&mut Connection::open(server.address).await?).await;

    let time = Amount::Time(SATURATED);
    let saturated = load(&[server.address], &purchase, CONNECTIONS, time, 1).await?;
    let mut sold = saturated.orders;
    let kept_up = done().await? as f64 / saturated.elapsed.as_secs_f64();
    all_completed(server.address, sold).await?;
    let rate = SHARE * kept_up.min(saturated.rate());

    let mut seen = Vec::new();
    for minute in 1..=minutes.max(2) {
        let answers = open_loop(server.address, &purchase, CONNECTIONS, rate, MINUTE).await?;
        let sample = sample(&answers);
        sold += sample.orders;
        let (kept, passing) = sqlx::query_as(SIZES).fetch_one(&mut database).await?;
        let now = Seen {
            left: sold.saturating_sub(done().await?),
            kept,
            passing,
            memory_mib: server.resident_mib()?,
            sold: sample,
        };
        now.tell(minute);
        seen.push(now);
    }
    Ok(measured(saturated, rate, &seen))
}

/// What was sold of it.
fn sample(answers: &[Answer]) -> Sample {
    let sold = answers.iter().filter(|answer| answer.status == 201);
    let latencies: Vec<Duration> = sold.map(|answer| answer.took).collect();
    Sample {
        orders: latencies.len(),
        elapsed: MINUTE,
        latencies,
    }
}

impl Seen {
    fn tell(&self, minute: usize) {
        let figures = Figures::of(std::slice::from_ref(&self.sold));
        println!(
            "minute {minute}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} tasks left, {:.0} MiB of orders, \
             {:.1} MiB of other tables, {:.0} MiB of memory",
            figures.orders_per_second,
            figures.p50_ms,
            figures.p99_ms,
            self.left,
            self.kept / MIB,
            self.passing / MIB,
            self.memory_mib,
        );
    }
}

/// The first third of the minutes against the last.
fn measured(saturated: Sample, rate: f64, seen: &[Seen]) -> Measured {
    let third = seen.len().div_ceil(3);
    let (first, last) = (&seen[..third], &seen[seen.len() - third..]);
    let figures = |seen: &[Seen]| {
        let sold: Vec<Sample> = seen.iter().map(|seen| seen.sold.clone()).collect();
        Figures::of(&sold)
    };
    let (early, late, all) = (figures(first), figures(last), figures(seen));
    let rows = vec![
        ("saturated, 30 s".to_owned(), Figures::of(&[saturated])),
        (format!("{} minutes at 0.7", seen.len()), all),
        ("the first third of them".to_owned(), early),
        ("the last third".to_owned(), late),
    ];
    let most = |seen: &[Seen], of: fn(&Seen) -> f64| seen.iter().map(of).fold(0.0, f64::max);
    let grows = |of: fn(&Seen) -> f64| most(last, of) / most(first, of);
    let left = most(last, |seen| seen.left as f64) / rate;
    let grew = seen.last_chunk::<2>().map_or(f64::NAN, |[before, end]| {
        (end.kept - before.kept) / end.sold.orders as f64
    });
    let passing = grows(|seen| seen.passing + MIB);
    let memory = grows(|seen| seen.memory_mib);
    let p99 = late.p99_ms / early.p99_ms;
    let mut measured = Measured::new("soak", rows);
    for (what, value, bar) in [
        (
            "slowest minute / asked for",
            all.min / rate,
            Bar::AtLeast(0.95),
        ),
        ("p99, the end / the beginning", p99, Bar::AtMost(2.0)),
        ("tasks left, in seconds of sales", left, Bar::AtMost(5.0)),
        (
            "other tables, the end / the beginning",
            passing,
            Bar::AtMost(1.5),
        ),
        ("memory, the end / the beginning", memory, Bar::AtMost(1.1)),
        (
            "bytes that an order adds to its tables",
            grew,
            Bar::AtMost(700.0),
        ),
    ] {
        measured.claim(what, value, bar);
    }
    measured
}
