//! The log on standard error, beside the traces.

use std::io::IsTerminal;

use anyhow::Context;
use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

use super::traces::Traces;

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

/// The levels without `RUST_LOG`: the notices of the database driver help nobody.
const DEFAULT_LEVELS: &str = "info,sqlx=warn";

/// Writes the log to standard error, at the levels of `RUST_LOG`, and sends traces where the
/// environment names a collector, for as long as the returned value is kept.
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

/// Colours are for terminals, unless somebody wants none (<https://no-color.org>).
fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    std::io::stderr().is_terminal() && !unwanted
}

/// The layer that writes the log.
fn log<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let log = fmt::layer()
        .with_ansi(has_colours())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    }
}
