//! The log, traces, and the signals that end a process.

mod traces;

use std::io::IsTerminal;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use crate::config::LogFormat;

pub use self::traces::{Traces, is_on as is_traced};

/// What is logged when `RUST_LOG` does not say: the driver's notices help nobody.
const DEFAULT_LEVELS: &str = "info,sqlx=warn";

/// Writes the log to standard error, at the levels of `RUST_LOG`, and sends traces where the
/// environment names a collector, for as long as what is returned is kept.
///
/// # Errors
/// When `RUST_LOG` or the name of the collector cannot be read.
pub fn init(format: LogFormat) -> anyhow::Result<Option<Traces>> {
    let levels =
        std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| DEFAULT_LEVELS.to_owned());
    let filter = EnvFilter::builder()
        .parse(&levels)
        .with_context(|| format!("RUST_LOG: cannot read {levels:?}"))?;
    let traces = Traces::from_environment()?;
    let registry = tracing_subscriber::registry();
    match &traces {
        // One filter for all is the cheapest.
        None => registry.with(filter).with(log(format)).init(),
        Some(traces) => registry
            .with(log(format).with_filter(filter))
            .with(traces.layer())
            .init(),
    }
    Ok(traces)
}

/// What writes the log.
fn log<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let log = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    }
}

/// Is cancelled by the first SIGTERM or SIGINT. The second ends the process at once, with
/// the exit code of a process that a signal ended.
///
/// # Panics
/// Outside a Tokio runtime.
#[must_use]
pub fn stop_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            tracing::error!("signals cannot be handled: only a hard stop will end this process");
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => 128 + 15,
                _ = interrupt.recv() => 128 + 2,
            }
        };
        next().await;
        tracing::info!("stopping; a second signal stops at once");
        told.cancel();
        std::process::exit(next().await);
    });
    stop
}
