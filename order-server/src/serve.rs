//! Puts the server together and runs it.

use std::{sync::Arc, time::Duration};

use order_core::{OrderService, RedisClient, Worker};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::KeyRing,
    config::Edge,
    http::{acceptor::NoDelay, app},
};

/// How long requests in flight may take to finish once the server is told to stop.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// What the server is made of.
pub struct Server {
    /// The service that it offers.
    pub service: OrderService,
    /// The worker inside it, if there is one.
    pub worker: Option<Worker>,
    /// The keys that requests are checked by.
    pub keys: Arc<KeyRing>,
    /// What it bears from outside.
    pub edge: Edge,
    /// The Redis that it can do without, if there is one.
    pub redis: Option<RedisClient>,
}

/// Serves on `listener` until `stop` is cancelled: takes no more connections, answers what is
/// in flight, lets the worker finish its batch.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let worker = server.worker.map(|worker| {
        let stop = stop.clone();
        tokio::spawn(async move { worker.run(stop).await })
    });
    let keys = Arc::clone(&server.keys);
    let fresh = stop.clone();
    tokio::spawn(async move { keys.keep_fresh(fresh).await });
    let served = poem::Server::new_with_acceptor(NoDelay::new(listener)?)
        .run_with_graceful_shutdown(
            app(server.service, server.redis, server.keys, &server.edge),
            stop.clone().cancelled_owned(),
            Some(SHUTDOWN_LIMIT),
        )
        .await;
    stop.cancel();
    if let Some(worker) = worker
        && let Err(panic) = worker.await
    {
        tracing::error!(%panic, "the worker did not end well");
    }
    served
}
