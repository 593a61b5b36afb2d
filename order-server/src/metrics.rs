//! Collects the metrics of this process, and writes them in the format of Prometheus.
//!
//! A process has one collector, as the facade of the crate `metrics` wants it: several servers
//! in one process share their series.

use std::{sync::OnceLock, time::Duration};

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

pub(crate) const HTTP_REQUESTS: &str = "orders_http_requests_total";
pub(crate) const HTTP_SECONDS: &str = "orders_http_request_seconds";
pub(crate) const HTTP_IN_FLIGHT: &str = "orders_http_requests_in_flight";
pub(crate) const CONNECTIONS: &str = "orders_http_connections";
pub(crate) const CONNECTIONS_REFUSED: &str = "orders_http_connections_refused_total";
const BUILD_INFO: &str = "orders_build_info";

/// From half a millisecond, within which the cache answers, to the default time limit of a
/// request.
const HTTP_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Samples of histograms are kept one by one until they are sorted into buckets. This happens at
/// this interval, so that they do not pile up while nobody reads.
const SORT_EVERY: Duration = Duration::from_secs(1);

/// The collector of this process.
pub struct Metrics {
    handle: PrometheusHandle,
    process: Collector,
}

static COLLECTOR: OnceLock<Metrics> = OnceLock::new();

/// The collector of this process, installed by the first call. Where the program has a recorder of
/// its own already, that one gets the metrics, and this one stays empty.
pub fn collector() -> &'static Metrics {
    COLLECTOR.get_or_init(|| {
        let handle = install().unwrap_or_else(|error| {
            tracing::warn!(%error, "this process has another metrics recorder: /metrics stays empty");
            PrometheusBuilder::new().build_recorder().handle()
        });
        let process = Collector::default();
        order_core::metrics::describe();
        process.describe();
        describe();
        Metrics { handle, process }
    })
}

fn install() -> Result<PrometheusHandle, BuildError> {
    let all = order_core::metrics::HISTOGRAMS
        .iter()
        .copied()
        .chain([(HTTP_SECONDS, HTTP_BUCKETS)]);
    let with_buckets = |builder: PrometheusBuilder, (name, buckets): (&str, &[f64])| {
        builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
    };
    all.into_iter()
        .try_fold(PrometheusBuilder::new(), with_buckets)?
        .install_recorder()
}

fn describe() {
    describe_counter!(
        HTTP_REQUESTS,
        "Requests answered, by route, method and status."
    );
    describe_histogram!(
        HTTP_SECONDS,
        Unit::Seconds,
        "Time until an answer began, by route and method."
    );
    describe_gauge!(HTTP_IN_FLIGHT, "Requests whose answer has not begun.");
    describe_gauge!(CONNECTIONS, "Open connections.");
    describe_counter!(CONNECTIONS_REFUSED, "Connections refused, one too many.");
    describe_gauge!(BUILD_INFO, "1, with the version as a label.");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(HTTP_IN_FLIGHT).set(0.0);
    gauge!(CONNECTIONS).set(0.0);
    counter!(CONNECTIONS_REFUSED).increment(0);
}

impl Metrics {
    /// All metrics, in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// Sorts samples into buckets again and again, until `stop` is cancelled.
    pub async fn run_upkeep(&self, stop: CancellationToken) {
        let mut ticks = interval(SORT_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.handle.run_upkeep();
        }
    }
}
