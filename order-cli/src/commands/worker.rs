//! `order-cli worker`: decides accepted orders, and processes sold ones.

use std::process::ExitCode;

use clap::Subcommand;
use order_core::{OrderService, RedisClient};
use order_server::runtime::{MetricsServer, TaskOptions, WorkerSettings, stop_signal};

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[("sold", "/sold"), ("failed", "/failed")];

#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Decide accepted orders and process sold ones until stopped; on SIGTERM, finish the work in
    /// progress first
    Run {
        /// Stop when all work is done except tasks that wait for a retry
        #[arg(long)]
        drain: bool,
        #[command(flatten)]
        settings: WorkerSettings,
        #[command(flatten)]
        tasks: TaskOptions,
        #[command(flatten)]
        metrics: MetricsServer,
    },
}

pub(crate) async fn run(
    command: Worker,
    service: &OrderService,
    redis: Option<RedisClient>,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Worker::Run {
        drain,
        settings,
        tasks,
        metrics,
    } = command;
    let worker = tasks.attach_processor(service.worker(settings.options()))?;
    let stop = stop_signal();
    let served = metrics.start(service, redis, &stop).await?;
    let decided = if drain {
        worker.drain(&stop).await?
    } else {
        tracing::info!("worker is running");
        worker.run(stop.clone()).await
    };
    stop.cancel();
    if let Some(served) = served {
        served.await??;
    }
    output.row(COLUMNS, decided)?;
    Ok(ExitCode::SUCCESS)
}
