//! Puts the server together and runs it.

use std::{sync::Arc, time::Duration};

use order_core::{OrderService, RedisClient, Worker};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    app::app,
    auth::KeyCache,
    config::{HttpLimits, Settings, WorkerMode},
    connections::{self, within_descriptor_limit},
    upkeep::spawn_upkeep,
};

/// The time limit at the end for work that goes on after answers, such as updates of the cache.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// The parts of a server.
pub struct Server {
    /// The service that it offers.
    pub service: OrderService,
    /// The worker inside it, if there is one.
    pub worker: Option<Worker>,
    /// The keys that requests are checked by.
    pub keys: Arc<KeyCache>,
    /// The limits that its clients meet.
    pub http: HttpLimits,
    /// The acceptor of TLS connections, if TLS is on.
    pub tls: Option<TlsAcceptor>,
    /// The Redis whose health it reports, if there is one.
    pub redis: Option<RedisClient>,
}

impl Server {
    /// Opens the database and puts everything together, as `settings` say.
    ///
    /// # Errors
    /// When the settings contradict each other, or the database cannot be opened.
    pub async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let tls = settings.tls.acceptor()?;
        let store = settings.database.open().await?;
        let keys = KeyCache::load(store.clone()).await?;
        settings.check(keys.is_open())?;
        let redis = settings.redis.client()?;
        let service = settings
            .redis
            .builder(store, redis.clone())
            .strategy(settings.worker_settings.strategy)
            .max_waiting(settings.max_waiting)
            .max_wait(settings.max_wait())
            .process_delay(settings.tasks.process_delay())
            .build();
        let worker = match settings.worker {
            WorkerMode::Embedded => {
                let worker = service.worker(settings.worker_settings.options());
                Some(settings.tasks.attach_processor(worker)?)
            }
            WorkerMode::Off => None,
        };
        let mut http = settings.http.clone();
        http.max_connections = within_descriptor_limit(http.max_connections);
        Ok(Self {
            service,
            worker,
            keys: Arc::new(keys),
            http,
            tls,
            redis,
        })
    }
}

/// Serves on `listener` until `stop` is cancelled. It then takes no more connections, answers the
/// requests in flight, lets the worker finish its batch, and completes updates of the cache.
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
    spawn_upkeep(&server.keys, &stop);
    let service = server.service.clone();
    let app = app(
        server.service,
        server.redis,
        server.keys,
        &server.http,
        stop.clone(),
    );
    let limits = server.http.connections();
    let served = connections::serve(listener, app, limits, server.tls, stop.clone()).await;
    stop.cancel();
    if let Some(worker) = worker
        && let Err(panic) = worker.await
    {
        tracing::error!(%panic, "the worker failed while the server stopped");
    }
    service.settle(SETTLE_LIMIT).await;
    served
}
