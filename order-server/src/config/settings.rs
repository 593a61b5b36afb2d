//! All settings of the server.

use std::{net::SocketAddr, time::Duration};

use clap::{Parser, ValueEnum};

use super::{
    Database, HttpLimits, Redis, TaskOptions, Tls, WorkerSettings, bind_addr,
    exposure::check_exposure,
    values::{millis, positive},
};
use crate::telemetry::LogFormat;

/// The settings of the server.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "order-server",
    version,
    about = "HTTP server that sells stock and never oversells"
)]
pub struct Settings {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: Database,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub redis: Redis,

    /// Address to listen on
    #[arg(long, env, default_value = "127.0.0.1:8000", value_name = "HOST:PORT", value_parser = bind_addr)]
    pub bind_addr: SocketAddr,

    /// Where accepted orders are decided and sold orders processed
    #[arg(long, env, default_value = "embedded")]
    pub worker: WorkerMode,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub worker_settings: WorkerSettings,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub tasks: TaskOptions,

    /// Purchases that may wait at once, and likewise orders to accept; further requests get
    /// 503
    #[arg(long, env, default_value_t = 10_000)]
    pub max_waiting: usize,

    /// Longest estimated wait of a request in milliseconds; above it the request gets 503 at once
    #[arg(long, env, default_value_t = 500, value_parser = positive())]
    pub max_wait_ms: u64,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub http: HttpLimits,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub tls: Tls,

    /// Format of the log on standard error; the variable RUST_LOG sets its levels
    #[arg(long, env, default_value = "text")]
    pub log_format: LogFormat,

    /// Listen on an address that other machines can reach although there are no API keys, so that
    /// anybody can do everything; the first key that is created ends that
    #[arg(long)]
    pub insecure_no_auth: bool,
}

impl Settings {
    /// The longest estimated wait of a request that is not refused.
    #[must_use]
    pub const fn max_wait(&self) -> Duration {
        millis(self.max_wait_ms)
    }

    /// Checks that a server with these settings may start; it `is_open` when there are no keys.
    ///
    /// # Errors
    /// When other machines could reach an open server.
    pub fn check(&self, is_open: bool) -> anyhow::Result<()> {
        check_exposure(self.bind_addr, is_open, self.insecure_no_auth)
    }
}

/// The place of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkerMode {
    /// Run a worker in this process.
    Embedded,
    /// Leave the work to worker processes.
    Off,
}
