//! Starts the server: reads the settings, opens the database, serves until told to stop.

use std::{io::Write, process::ExitCode, sync::Arc, time::Duration};

use order_server::{
    Server,
    auth::KeyRing,
    config::{Settings, WorkerMode},
    connections::affordable,
    serve, telemetry,
};
use tokio::net::TcpListener;

/// A third of what the server does is to allocate and free: requests are many and short.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let settings: Settings = order_server::config::parse();
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("order-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(settings.log_format)?;
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
        .max_wait(Duration::from_millis(settings.max_wait_ms))
        .build();
    let listener = TcpListener::bind(settings.bind_addr)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", settings.bind_addr))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    announce(&format!("{scheme}://{}", listener.local_addr()?), &settings);
    let worker = (settings.worker == WorkerMode::Embedded)
        .then(|| service.worker(settings.deciding.options()));
    let mut edge = settings.edge;
    edge.max_connections = affordable(edge.max_connections);
    let server = Server {
        service,
        worker,
        keys: Arc::new(keys),
        edge,
        tls,
        redis,
    };
    serve(listener, server, telemetry::stop_signal()).await?;
    Ok(())
}

/// Says where everything is.
fn announce(origin: &str, settings: &Settings) {
    // Whoever started it may not read this.
    let _ = writeln!(
        std::io::stdout(),
        "API        {origin}/api/v1\n\
         Docs       {origin}/docs (Swagger UI), {origin}/redoc\n\
         Database   {}",
        settings.database
    );
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        order_server::config::Settings::command().debug_assert();
    }
}
