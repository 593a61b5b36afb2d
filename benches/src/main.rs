//! The report: every figure of `docs/PERFORMANCE.md`, from one run on one machine.
//!
//! Contestants take turns, on private servers; medians are compared. Ends with 1 when a bar
//! is missed. Takes about 20 minutes.
#![forbid(unsafe_code)]

mod report;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use self::report::{
    Measured, burst, dashboard, database, expiry, follow, over_http, overload, pages, plot, soak,
    sustained, terms, whole_life,
};

/// Measures the figures of docs/PERFORMANCE.md on this machine
#[derive(Debug, Parser)]
struct Args {
    /// Runs of each contestant
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Measure only the cases whose name contains this text
    #[arg(long, default_value = "")]
    only: String,
    /// Holds that lapse at once in the case expire-holds; the bar is meant for 1 000 000
    #[arg(long, default_value_t = 100_000)]
    holds: usize,
    /// Minutes of the case `soak`, which is measured only when it is named
    #[arg(long, default_value_t = 30)]
    minutes: usize,
    /// SVG file to draw the rate by the size of the batch into
    #[arg(long)]
    plot: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Args {
        runs,
        only,
        holds,
        minutes,
        plot,
    } = Args::parse();
    let wanted = |name: &str| name.contains(&only);
    let mut failed = false;
    let mut show = |measured: Measured| {
        println!("{measured}");
        failed |= !measured.holds();
    };
    for (name, shape) in database::SHAPES {
        if wanted(name) {
            show(database::decide(name, shape, runs).await?);
        }
    }
    if wanted("decide-sqlite") {
        show(database::decide_sqlite(runs).await?);
    }
    if wanted("decide-old-orders") {
        show(database::decide_with_old_orders(runs).await?);
    }
    if wanted("decide-batch-size") {
        let measured = database::decide_by_batch_size(runs).await?;
        if let Some(path) = &plot {
            plot::rate_by_batch(path, &measured)?;
        }
        show(measured);
    }
    if wanted("dashboard-queries") {
        show(dashboard::queries().await?);
    }
    if wanted("pages") {
        for measured in pages::orders(runs).await? {
            show(measured);
        }
    }
    if wanted("search") {
        for measured in pages::search(runs).await? {
            show(measured);
        }
    }
    over_http(runs, wanted, &mut show).await?;
    if wanted("expire-holds") {
        show(expiry::expire(holds).await?);
    }
    if only == "soak" {
        show(soak::soak(minutes).await?);
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The cases in which the server is a process of its own.
async fn over_http(
    runs: usize,
    wanted: impl Fn(&str) -> bool,
    show: &mut impl FnMut(Measured),
) -> anyhow::Result<()> {
    if wanted("http-sell") {
        for measured in over_http::sell(runs).await? {
            show(measured);
        }
    }
    if wanted("http-bulk") {
        show(over_http::bulk(runs).await?);
    }
    if wanted("http-read") {
        show(over_http::read(runs).await?);
    }
    if wanted("http-two-servers") {
        show(over_http::two_servers(runs).await?);
    }
    if wanted("http-memory") {
        show(over_http::memory().await?);
    }
    if wanted("http-overload") {
        show(overload::overload().await?);
    }
    if wanted("http-burst-postgres") {
        show(burst::on_postgres(runs).await?);
    }
    if wanted("http-burst-sqlite") {
        show(burst::on_sqlite(runs).await?);
    }
    if wanted("sustained-postgres") {
        show(sustained::on_postgres(runs).await?);
    }
    if wanted("sustained-sqlite") {
        show(sustained::on_sqlite(runs).await?);
    }
    if wanted("http-follow") {
        show(follow::follow().await?);
    }
    if wanted("http-terms-postgres") {
        show(terms::on_postgres(runs).await?);
    }
    if wanted("http-terms-sqlite") {
        show(terms::on_sqlite(runs).await?);
    }
    if wanted("http-lone") {
        show(whole_life::lone(runs).await?);
    }
    if wanted("http-carts") {
        show(whole_life::carts(runs).await?);
    }
    if wanted("drain-postgres") {
        show(whole_life::drain_on_postgres(runs).await?);
    }
    if wanted("drain-sqlite") {
        show(whole_life::drain_on_sqlite(runs).await?);
    }
    if wanted("drain-concurrency") {
        show(whole_life::drain_by_concurrency(runs).await?);
    }
    if wanted("bulk-completed") {
        show(whole_life::bulk_to_completed(runs).await?);
    }
    Ok(())
}
