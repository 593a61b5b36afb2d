//! `order-cli worker`: decides what was accepted, and does what follows a sale.

use std::process::ExitCode;

use clap::Subcommand;
use order_core::OrderService;
use order_server::{
    config::{AfterSale, Deciding},
    telemetry,
};

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[("sold", "/sold"), ("failed", "/failed")];

#[derive(Debug, Subcommand)]
pub(crate) enum Worker {
    /// Decides orders and does what follows a sale until it is stopped; SIGTERM finishes what
    /// is in hand
    Run {
        /// Stops when nothing is left to do but what waits for its retry
        #[arg(long)]
        drain: bool,
        #[command(flatten)]
        deciding: Deciding,
        #[command(flatten)]
        after_sale: AfterSale,
    },
}

pub(crate) async fn run(
    command: Worker,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Worker::Run {
        drain,
        deciding,
        after_sale,
    } = command;
    let worker = after_sale.equip(service.worker(deciding.options()))?;
    let decided = if drain {
        worker.drain(&telemetry::stop_signal()).await?
    } else {
        tracing::info!("worker is running");
        worker.run(telemetry::stop_signal()).await
    };
    output.row(COLUMNS, decided)?;
    Ok(ExitCode::SUCCESS)
}
