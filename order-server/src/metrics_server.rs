//! A small server for the metrics and the health of a process that is no server itself.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::Context;
use clap::Args;
use order_core::{OrderService, RedisClient};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    app::metrics_app,
    auth::KeyCache,
    config::{AllowedHost, HttpLimits, check_exposure},
    connections,
    upkeep::spawn_upkeep,
};

/// Settings of the server for metrics, which is off without an address.
#[derive(Clone, Debug, Args)]
pub struct MetricsServer {
    /// Address to serve /metrics and /health on; neither is served unless given
    #[arg(long, env, value_name = "HOST:PORT")]
    pub metrics_addr: Option<SocketAddr>,

    /// Serve them on an address that other machines can reach although there are no API keys
    #[arg(long, requires = "metrics_addr")]
    pub insecure_no_auth: bool,

    /// Host names that they answer to while there are no API keys, besides localhost and loopback
    /// addresses, separated by commas
    #[arg(long, env, value_delimiter = ',', value_name = "HOST")]
    pub allowed_hosts: Vec<AllowedHost>,
}

impl MetricsServer {
    /// Serves in a task of its own until `stop` is cancelled, if these settings name an address.
    ///
    /// # Errors
    /// When the keys cannot be read, other machines could reach it without a key, or the address
    /// cannot be used.
    pub async fn start(
        &self,
        service: &OrderService,
        redis: Option<RedisClient>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<JoinHandle<io::Result<()>>>> {
        let Some(address) = self.metrics_addr else {
            return Ok(None);
        };
        let keys = KeyCache::load(service.store().clone()).await?;
        check_exposure(address, keys.is_open(), self.insecure_no_auth)?;
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (set METRICS_ADDR)"))?;
        let limits = HttpLimits {
            allowed_hosts: self.allowed_hosts.clone(),
            ..HttpLimits::default()
        };
        let keys = Arc::new(keys);
        spawn_upkeep(&keys, stop);
        let app = metrics_app(service.clone(), redis, keys, &limits);
        let served = connections::serve(listener, app, limits.connections(), None, stop.clone());
        Ok(Some(tokio::spawn(served)))
    }
}
