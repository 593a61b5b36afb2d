//! Puts the server together and runs it.

use std::{sync::Arc, time::Duration};

use order_core::{OrderService, RedisClient, Worker, supervise::supervise};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::KeyRing,
    config::{Edge, Settings, WorkerMode},
    connections::{self, affordable},
    http::{app, side_app},
    metrics::collector,
};

/// How long the end waits for what goes on after answers, such as telling the cache what changed.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

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
    /// What speaks TLS, if it does.
    pub tls: Option<TlsAcceptor>,
    /// The Redis that it can do without, if there is one.
    pub redis: Option<RedisClient>,
}

impl Server {
    /// Opens the database and puts everything together, as `settings` say.
    ///
    /// # Errors
    /// When the settings do not go together, or the database is not there.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let tls = settings.tls.acceptor()?;
        let store = settings.database.open().await?;
        let keys = KeyRing::load(store.clone()).await?;
        settings.check(keys.is_open())?;
        let redis = settings.redis.client()?;
        let service = settings
            .redis
            .builder(store, redis.clone())
            .strategy(settings.deciding.strategy)
            .max_waiting(settings.max_waiting)
            .max_wait(settings.max_wait())
            .build();
        let worker = match settings.worker {
            WorkerMode::Embedded => {
                let worker = service.worker(settings.deciding.options());
                Some(settings.after_sale.equip(worker)?)
            }
            WorkerMode::Off => None,
        };
        let mut edge = settings.edge.clone();
        edge.max_connections = affordable(edge.max_connections);
        Ok(Self {
            service,
            worker,
            keys: Arc::new(keys),
            edge,
            tls,
            redis,
        })
    }
}

/// Serves on `listener` until `stop` is cancelled: takes no more connections, answers what is
/// in flight, lets the worker finish its batch, and tells the cache what it was not told yet.
///
/// # Errors
/// When the listener has no address.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let worker = server.worker.map(|worker| {
        let stop = stop.clone();
        tokio::spawn(async move { worker.run(stop).await })
    });
    look_after(&server.keys, &stop);
    let service = server.service.clone();
    let app = app(
        server.service,
        server.redis,
        server.keys,
        &server.edge,
        stop.clone(),
    );
    let served = connections::serve(
        listener,
        app,
        server.edge.limits(),
        server.tls,
        stop.clone(),
    )
    .await;
    stop.cancel();
    if let Some(worker) = worker
        && let Err(panic) = worker.await
    {
        tracing::error!(%panic, "the worker did not end well");
    }
    service.settle(SETTLE_LIMIT).await;
    served
}

/// Serves the metrics of a process that is no server, and whether it is well, on `listener`
/// until `stop` is cancelled.
///
/// # Errors
/// When the listener has no address.
pub async fn serve_metrics(
    listener: TcpListener,
    service: OrderService,
    redis: Option<RedisClient>,
    keys: Arc<KeyRing>,
    edge: &Edge,
    stop: CancellationToken,
) -> std::io::Result<()> {
    look_after(&keys, &stop);
    let app = side_app(service, redis, keys, edge);
    connections::serve(listener, app, edge.limits(), None, stop).await
}

/// What goes on beside serving, until `stop` is cancelled.
fn look_after(keys: &Arc<KeyRing>, stop: &CancellationToken) {
    let (keys, fresh) = (Arc::clone(keys), stop.clone());
    tokio::spawn(supervise("keys", move || {
        let (keys, fresh) = (Arc::clone(&keys), fresh.clone());
        async move { keys.keep_fresh(fresh).await }
    }));
    let small = stop.clone();
    tokio::spawn(supervise("metrics", move || {
        collector().keep_small(small.clone())
    }));
}
