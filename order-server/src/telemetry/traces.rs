//! Traces: spans that go to a collector over OTLP, when one is named.
//!
//! The settings are those of OpenTelemetry itself (`OTEL_EXPORTER_OTLP_ENDPOINT`,
//! `OTEL_SERVICE_NAME`, `OTEL_BSP_…`). Without an endpoint there is no layer for spans: those
//! that are only for traces are never made, and nothing looks into the headers of requests.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter, registry::LookupSpan};

const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// The time limit for sending the last spans when the process ends.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

static IS_ON: AtomicBool = AtomicBool::new(false);

/// Tells whether spans are sent to a collector.
#[must_use]
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Sends spans to the collector that the environment names, until it is dropped.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Connects to the collector that the environment names, if it names one.
    ///
    /// # Errors
    /// When the name is not a URL that starts with `http://`.
    pub(super) fn from_environment() -> anyhow::Result<Option<Self>> {
        let named = ENDPOINTS.iter().find_map(|name| {
            let endpoint = std::env::var(name).ok().filter(|text| !text.is_empty());
            Some((*name, endpoint?))
        });
        let Some((name, endpoint)) = named else {
            return Ok(None);
        };
        ensure!(
            endpoint.starts_with("http://"),
            "{name}: {endpoint:?} must be a URL that starts with http://"
        );
        let exporter = SpanExporter::builder()
            .with_http()
            .build()
            .with_context(|| format!("{name}: cannot send traces to {endpoint:?}"))?;
        let provider = SdkTracerProvider::builder()
            .with_span_processor(SkipIdle(BatchSpanProcessor::builder(exporter).build()))
            .with_resource(resource())
            .build();
        IS_ON.store(true, Ordering::Relaxed);
        Ok(Some(Self { provider }))
    }

    /// The layer that takes the spans of this project.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.provider.tracer("orders");
        let ours = filter::filter_fn(is_ours).with_max_level_hint(LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(ours)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_LIMIT) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Selects the spans of this project, and warnings and errors within them.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let is_ours = metadata.target().starts_with("order_");
    is_ours && (metadata.is_span() || *metadata.level() <= Level::WARN)
}

/// The source of the spans: the name of the program, unless the environment has one.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    if std::env::var_os(SERVICE_NAME).is_some() {
        return builder.build();
    }
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(std::path::Path::file_stem);
    let name = name.map_or("orders".into(), |name| name.to_string_lossy());
    builder.with_service_name(name.into_owned()).build()
}

/// Skips the spans of batches without orders: a worker without work looks for some twenty times
/// a second, which nobody wants to read.
#[derive(Debug)]
struct SkipIdle(BatchSpanProcessor);

/// The field of a span for the number of its orders.
const ORDERS: &str = "orders";

impl SpanProcessor for SkipIdle {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let is_idle = span.name == "decide"
            && !span
                .attributes
                .iter()
                .any(|attribute| attribute.key.as_str() == ORDERS);
        if !is_idle {
            self.0.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
