//! The log, and the signals that end a process.

use std::io::IsTerminal;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is logged when `RUST_LOG` does not say: the driver's notices help nobody.
const DEFAULT_LEVELS: &str = "info,sqlx=warn";

/// Writes the log to standard error, at the levels of `RUST_LOG`.
///
/// # Errors
/// When `RUST_LOG` cannot be read.
pub fn init(format: LogFormat) -> anyhow::Result<()> {
    let levels =
        std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| DEFAULT_LEVELS.to_owned());
    let filter = EnvFilter::builder()
        .parse(&levels)
        .with_context(|| format!("RUST_LOG: cannot read {levels:?}"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
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
