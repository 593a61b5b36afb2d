//! `order-cli worker`: decides what was accepted, and does what follows a sale.

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::Context;
use clap::{Args, Subcommand};
use order_core::{OrderService, RedisClient};
use order_server::{
    auth::KeyRing,
    config::{AfterSale, AllowedHost, Deciding, Edge, check_exposure},
    serve_metrics, telemetry,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

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
        #[command(flatten)]
        side: Side,
    },
}

/// What a worker shows of itself.
#[derive(Debug, Args)]
pub(crate) struct Side {
    /// Address to offer metrics on (/metrics), and whether the worker is well (/health); none
    /// unless said otherwise
    #[arg(long, env, value_name = "HOST:PORT")]
    metrics_addr: Option<SocketAddr>,
    /// Offer them beyond this machine although there are no API keys
    #[arg(long, requires = "metrics_addr")]
    insecure_no_auth: bool,
    /// Names by which they may be asked for (Host) while there are no API keys, besides those of
    /// the loopback, with commas between
    #[arg(long, env, value_delimiter = ',', value_name = "HOST")]
    allowed_hosts: Vec<AllowedHost>,
}

pub(crate) async fn run(
    command: Worker,
    service: &OrderService,
    redis: Option<RedisClient>,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Worker::Run {
        drain,
        deciding,
        after_sale,
        side,
    } = command;
    let worker = after_sale.equip(service.worker(deciding.options()))?;
    let stop = telemetry::stop_signal();
    let shown = side.show(service, redis, &stop).await?;
    let decided = if drain {
        worker.drain(&stop).await?
    } else {
        tracing::info!("worker is running");
        worker.run(stop.clone()).await
    };
    stop.cancel();
    if let Some(shown) = shown {
        shown.await??;
    }
    output.row(COLUMNS, decided)?;
    Ok(ExitCode::SUCCESS)
}

impl Side {
    /// Offers metrics until `stop` is cancelled, where they are wanted.
    async fn show(
        &self,
        service: &OrderService,
        redis: Option<RedisClient>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<JoinHandle<io::Result<()>>>> {
        let Some(address) = self.metrics_addr else {
            return Ok(None);
        };
        let keys = KeyRing::load(service.store().clone()).await?;
        check_exposure(address, keys.is_open(), self.insecure_no_auth)?;
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let edge = Edge {
            allowed_hosts: self.allowed_hosts.clone(),
            ..Edge::default()
        };
        let (service, stop) = (service.clone(), stop.clone());
        Ok(Some(tokio::spawn(async move {
            serve_metrics(listener, service, redis, Arc::new(keys), &edge, stop).await
        })))
    }
}
