//! Starts the server: reads the settings, opens the database, serves until it is stopped.
// The middleware is one nested type, through which optimized builds go by recursion.
#![recursion_limit = "256"]

use std::{io::Write, process::ExitCode, sync::Arc};

use anyhow::Context;
use order_server::{
    Server,
    config::Settings,
    runtime::{collector, init_telemetry, one_line, parse, stop_signal},
    serve,
};
use tokio::net::TcpListener;

/// A third of the server's work is to allocate and free: requests are many and short.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let settings: Settings = parse();
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("order-server: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let _traces = init_telemetry(settings.log_format)?;
    collector();
    let server = Server::open(&settings).await?;
    let listener = TcpListener::bind(settings.bind_addr)
        .await
        .with_context(|| format!("cannot listen on {} (set BIND_ADDR)", settings.bind_addr))?;
    let scheme = if server.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let origin = match &settings.http.public_url {
        Some(public) => public.to_string(),
        None => format!("{scheme}://{}", listener.local_addr()?),
    };
    announce(&origin, &settings);
    let store = Arc::clone(server.service.store());
    let served = serve(listener, server, stop_signal()).await;
    store.close().await;
    Ok(served?)
}

/// Prints where everything is.
fn announce(origin: &str, settings: &Settings) {
    // Nobody may be reading the output.
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
        super::Settings::command().debug_assert();
    }
}
