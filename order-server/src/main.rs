//! Starts the server: reads the settings, opens the database, serves until told to stop.
// What every request meets is one type, whose layers optimized builds go through by recursion.
#![recursion_limit = "256"]

use std::{io::Write, process::ExitCode, sync::Arc};

use order_server::{Server, config::Settings, metrics::collector, serve, telemetry};
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
    let _traces = telemetry::init(settings.log_format)?;
    collector();
    let server = Server::open(&settings).await?;
    let listener = TcpListener::bind(settings.bind_addr)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", settings.bind_addr))?;
    let scheme = if server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    announce(&format!("{scheme}://{}", listener.local_addr()?), &settings);
    let store = Arc::clone(server.service.store());
    let served = serve(listener, server, telemetry::stop_signal()).await;
    store.close().await;
    Ok(served?)
}

/// Says where everything is.
fn announce(origin: &str, settings: &Settings) {
    // Whoever started it may not read this.
    let _ = writeln!(
        std::io::stdout(),
        "API        {origin}/api/v1\n\
         Docs       {origin}/docs (Swagger UI), {origin}/redoc\n\
         Dashboard  {origin}/dashboard\n\
         Metrics    {origin}/metrics\n\
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
