//! `order-cli worker`: decides what was accepted.

use std::process::ExitCode;

use clap::Subcommand;
use order_core::OrderService;
use order_server::{config::Deciding, telemetry};

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[("sold", "/sold"), ("failed", "/failed")];

#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Decides orders until it is stopped; SIGTERM finishes the batch in hand
    Run {
        /// Stops when nothing is left to decide
        #[arg(long)]
        drain: bool,
        #[command(flatten)]
        deciding: Deciding,
    },
}

pub(crate) async fn run(
    command: Worker,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Worker::Run { drain, deciding } = command;
    let worker = service.worker(deciding.options());
    let decided = if drain {
        worker.drain(&telemetry::stop_signal()).await?
    } else {
        tracing::info!("worker is running");
        worker.run(telemetry::stop_signal()).await
    };
    output.row(COLUMNS, decided)?;
    Ok(ExitCode::SUCCESS)
}
