//! `order-cli worker`: decides what was accepted.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use order_core::{OrderService, WorkerOptions};
use order_server::telemetry;

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[("sold", "/sold"), ("failed", "/failed")];

#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Decides orders until it is stopped; SIGTERM finishes the batch in hand
    Run {
        /// Stops when nothing is left to decide
        #[arg(long)]
        drain: bool,
        /// The most orders to decide in one transaction
        #[arg(long, env = "WORKER_BATCH_ORDERS", default_value_t = 1_000)]
        batch_orders: u32,
        /// How long a claim on Redis holds before other workers take it over; the same for all
        #[arg(long, env = "WORKER_LEASE_MS", default_value_t = 30_000)]
        lease_ms: u64,
        /// How long to wait, when there was nothing to do, before looking again
        #[arg(long, env = "WORKER_IDLE_POLL_MS", default_value_t = 50)]
        idle_poll_ms: u64,
    },
}

pub(crate) async fn run(
    command: Worker,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Worker::Run {
        drain,
        batch_orders,
        lease_ms,
        idle_poll_ms,
    } = command;
    let worker = service.worker(WorkerOptions {
        batch_orders: batch_orders.max(1) as usize,
        lease: Duration::from_millis(lease_ms.max(1)),
        idle_poll: Duration::from_millis(idle_poll_ms.max(1)),
        ..WorkerOptions::default()
    });
    let decided = if drain {
        worker.drain().await?
    } else {
        tracing::info!("worker is running");
        worker.run(telemetry::stop_signal()).await
    };
    output.row(COLUMNS, decided)?;
    Ok(ExitCode::SUCCESS)
}
