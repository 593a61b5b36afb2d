//! `order-cli bench`: measures the strategies on this database and this machine.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use order_core::{
    bench::{Bench, Case, Contestant, Figures, SINGLE_TASKS, Sample, Sandbox, Shape},
    store::Strategy,
};
use serde::Serialize;

use crate::{
    output::{Column, Output},
    progress,
};

/// A contestant that takes one order at a time gets this part of `--orders`: it is that much
/// slower.
const SINGLE_SHARE: usize = 100;

const COLUMNS: &[Column] = &[
    ("case", "/case"),
    ("contestant", "/contestant"),
    ("orders/s", "/rounded/orders_per_second"),
    ("min", "/rounded/min"),
    ("max", "/rounded/max"),
    ("p50 ms", "/rounded/p50_ms"),
    ("p99 ms", "/rounded/p99_ms"),
    ("times row_lock", "/rounded/ratio"),
];

/// Measure the strategies against each other, in a schema (on SQLite, a file) of its own that is
/// removed afterwards. The contestants run in turn, and their medians are compared
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "decide,accept,purchase"
    )]
    case: Vec<CaseArg>,
    /// How demand is spread over products
    #[arg(long, value_enum, default_value = "hot")]
    shape: ShapeArg,
    /// Number of products, unless all demand is for one
    #[arg(long, default_value_t = 1_000, value_parser = up_to(1_000_000))]
    products: usize,
    /// Orders per run for batch; contestants that take one order at a time get a hundredth of them
    #[arg(long, default_value_t = 200_000, value_parser = up_to(10_000_000))]
    orders: usize,
    /// Runs of each contestant
    #[arg(long, default_value_t = 5, value_parser = up_to(1_000))]
    runs: usize,
}

fn up_to(most: u64) -> impl clap::builder::TypedValueParser<Value = usize> {
    clap::builder::RangedU64ValueParser::<usize>::new().range(1..=most)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum CaseArg {
    /// Decide orders that are stored
    Decide,
    /// Store orders to decide later
    Accept,
    /// Decide and store orders at once
    Purchase,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShapeArg {
    /// All orders are for one product
    Hot,
    /// All products are in equal demand
    Spread,
    /// Demand falls with a product's rank
    Zipf,
}

impl CaseArg {
    const fn case(self) -> Case {
        match self {
            Self::Decide => Case::Decide,
            Self::Accept => Case::Accept,
            Self::Purchase => Case::Purchase,
        }
    }

    /// The contestants of this case. Accepting takes no lock, so that there is one way to do it one
    /// at a time.
    fn contestants(self, on_postgres: bool) -> Vec<Contestant> {
        let strategies = match self {
            Self::Accept => &[Strategy::RowLock][..],
            _ => &[Strategy::RowLock, Strategy::ConditionalUpdate],
        };
        let tasks = if on_postgres {
            &SINGLE_TASKS[..]
        } else {
            &SINGLE_TASKS[..1]
        };
        let mut contestants = vec![Contestant::Batch];
        if on_postgres && self == Self::Decide {
            contestants.extend([Contestant::Limit(1), Contestant::Limit(2)]);
        }
        for strategy in strategies {
            contestants.extend(
                tasks
                    .iter()
                    .map(|tasks| Contestant::Single(*strategy, *tasks)),
            );
        }
        contestants
    }
}

#[derive(Serialize)]
struct Row {
    case: CaseArg,
    contestant: String,
    #[serde(flatten)]
    figures: Figures,
    /// The ratio to the best of `row_lock`.
    ratio: f64,
    rounded: BTreeMap<&'static str, String>,
}

pub(crate) async fn run(
    args: BenchArgs,
    database_url: &str,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let sandbox = Sandbox::create(database_url).await?;
    let measured = tokio::select! {
        measured = measure(&args, &sandbox) => measured.map(Some),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| None).map_err(Into::into),
    };
    sandbox.remove().await?;
    let Some(samples) = measured? else {
        anyhow::bail!("interrupted; the data of the measurement was removed");
    };
    output.rows(COLUMNS, &rows(&samples))?;
    Ok(ExitCode::SUCCESS)
}

type Samples = Vec<(CaseArg, Vec<(Contestant, Vec<Sample>)>)>;

async fn measure(args: &BenchArgs, sandbox: &Sandbox) -> anyhow::Result<Samples> {
    let shape = match args.shape {
        ShapeArg::Hot => Shape::Hot,
        ShapeArg::Spread => Shape::Spread(args.products),
        ShapeArg::Zipf => Shape::Zipf(args.products),
    };
    let on_postgres = sandbox.limit().is_some();
    let mut bench = Bench::new(sandbox.store.clone(), sandbox.limit(), shape).await?;
    for tasks in SINGLE_TASKS {
        bench = bench.with_sized(tasks, sandbox.sized(tasks).await?);
    }
    let contestants = |case: CaseArg| case.contestants(on_postgres);
    let runs: usize = args
        .case
        .iter()
        .map(|case| contestants(*case).len() * args.runs)
        .sum();
    let template = "{bar:40} run {pos} of {len}: {msg}, {eta} left";
    let progress = progress::bar(Some(runs as u64), template)?;
    if !progress.is_hidden() {
        progress.enable_steady_tick(Duration::from_millis(500));
    }
    let mut all = Vec::new();
    for case in &args.case {
        let mut samples: Vec<(Contestant, Vec<Sample>)> = contestants(*case)
            .into_iter()
            .map(|who| (who, Vec::new()))
            .collect();
        for _ in 0..args.runs {
            for (who, samples) in &mut samples {
                progress.set_message(format!("{:?} {who}", case.case()));
                let orders = match who {
                    Contestant::Single(..) => args.orders.div_ceil(SINGLE_SHARE),
                    _ => args.orders,
                };
                samples.push(bench.measure(case.case(), *who, orders).await?);
                progress.inc(1);
            }
        }
        all.push((*case, samples));
    }
    progress.finish_and_clear();
    Ok(all)
}

fn rows(samples: &Samples) -> Vec<Row> {
    let mut rows = Vec::new();
    for (case, samples) in samples {
        let figures: Vec<(Contestant, Figures)> = samples
            .iter()
            .map(|(who, samples)| (*who, Figures::of(samples)))
            .collect();
        let best = figures
            .iter()
            .filter(|(who, _)| matches!(who, Contestant::Single(Strategy::RowLock, _)))
            .map(|(_, figures)| figures.orders_per_second)
            .fold(f64::NAN, f64::max);
        rows.extend(
            figures
                .into_iter()
                .map(|(who, figures)| row(*case, who, figures, best)),
        );
    }
    rows
}

fn row(case: CaseArg, who: Contestant, figures: Figures, best_row_lock: f64) -> Row {
    let ratio = figures.orders_per_second / best_row_lock;
    Row {
        case,
        contestant: who.to_string(),
        ratio,
        rounded: BTreeMap::from([
            (
                "orders_per_second",
                format!("{:.0}", figures.orders_per_second),
            ),
            ("min", format!("{:.0}", figures.min)),
            ("max", format!("{:.0}", figures.max)),
            ("p50_ms", format!("{:.2}", figures.p50_ms)),
            ("p99_ms", format!("{:.2}", figures.p99_ms)),
            ("ratio", format!("{ratio:.1}")),
        ]),
        figures,
    }
}
