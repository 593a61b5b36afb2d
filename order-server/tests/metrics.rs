//! `/metrics`: what it tells, in a form that Prometheus reads, as it is documented.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod scrape;
mod shop;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use openmetrics_parser::{PrometheusType, PrometheusValue};
use order_core::{
    OrderService, WorkerOptions,
    keys::KeyRequest,
    process::{OrderProcessor, ProcessError, ProcessOptions, Processing, Task},
    store,
    supervise::catch,
    testing::{PostgresServer, RedisServer},
};
use order_server::config::HttpLimits;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use scrape::{OPERATIONS, Scrape, documented};
use shop::Shop;

const SOON: Duration = Duration::from_secs(5);
/// A process has one set of metrics, to which each of its servers tells its own database: held by
/// a test while its server runs.
static METRICS: Mutex<()> = Mutex::const_new(());

/// Does something of everything.
async fn trade(shop: &Shop) {
    let product = shop.product("Lamp", 5).await;
    let order = |quantity: i64| json!({"product_id": product, "quantity": quantity});
    // Carried out once, and counted once.
    let (path, two) = ("/orders/purchase", order(2));
    for _ in 0..2 {
        let key = [("idempotency-key", "two-lamps")];
        let bought = shop.send("POST", path, &key, Some(&two)).await;
        assert_eq!(bought.status, 201);
    }
    assert_eq!(shop.post("/orders/purchase", &order(9)).await.status, 409);
    for (quantity, status) in [(1, "success"), (9, "failed")] {
        let accepted = shop.post("/orders", &order(quantity)).await;
        assert_eq!(shop.decided(&accepted).await["status"], status);
    }
    for _ in 0..2 {
        assert_eq!(shop.get(&format!("/products/{product}")).await.status, 200);
    }
    assert_eq!(shop.get("/products/nonsense").await.status, 400);
    assert_eq!(shop.get("/nowhere/at/all").await.status, 404);
    assert_eq!(shop.send("PATCH", "/orders", &[], None).await.status, 405);
    let strange = shop.send("BREW", "/orders", &[], None).await;
    assert_eq!(strange.status, 405);
}

/// Gives up on orders of more than one piece.
struct Picky;

#[async_trait]
impl OrderProcessor for Picky {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        if task.order.lines[0].quantity.get() > 1 {
            return Err(ProcessError::give_up("too many"));
        }
        Ok(())
    }
}

/// Does what follows the sales.
async fn process(shop: &Shop) {
    let worker = shop.service.worker(WorkerOptions::default());
    let worker = worker.processing(Processing {
        processor: Arc::new(Picky),
        options: ProcessOptions::default(),
    });
    worker.drain(&CancellationToken::new()).await.unwrap();
}

type Labels = &'static [(&'static str, &'static str)];

const SOLD: Labels = &[("way", "background"), ("outcome", "success")];
/// What is to be told after both shops traded.
const TOLD: &[(&str, Labels, f64)] = &[
    ("orders_accepted_total", &[], 4.0),
    ("orders_decided_total", SOLD, 2.0),
    (
        "orders_decided_total",
        &[("way", "background"), ("outcome", "insufficient_stock")],
        2.0,
    ),
    (
        "orders_decided_total",
        &[("way", "purchase"), ("outcome", "success")],
        2.0,
    ),
    ("orders_batch_size", &[("operation", "accept")], 4.0),
    ("orders_batch_seconds", &[("operation", "purchase")], 6.0),
    ("orders_tasks_total", &[("outcome", "completed")], 2.0),
    ("orders_tasks_total", &[("outcome", "dead")], 2.0),
    ("orders_task_seconds", &[], 4.0),
    ("orders_tasks_in_flight", &[], 0.0),
    (
        "orders_queue_entries",
        &[("topic", "process"), ("state", "dead")],
        1.0,
    ),
    ("orders_queue_paused", &[("topic", "validate")], 0.0),
    ("orders_backend_up", &[("backend", "database")], 1.0),
    ("orders_backend_up", &[("backend", "queue")], 1.0),
    ("orders_pending", &[], 0.0),
    (
        "orders_http_requests_total",
        &[
            ("route", "/api/v1/orders/purchase"),
            ("method", "POST"),
            ("status", "409"),
        ],
        2.0,
    ),
    (
        "orders_http_requests_total",
        &[("route", "/api/v1/products/{id}"), ("status", "400")],
        2.0,
    ),
    (
        "orders_http_request_seconds",
        &[("route", "/api/v1/products/{id}"), ("method", "GET")],
        6.0,
    ),
    (
        "orders_http_requests_total",
        &[("route", "unmatched"), ("status", "404")],
        2.0,
    ),
    (
        "orders_http_requests_total",
        &[("route", "/api/v1/orders"), ("method", "OTHER")],
        2.0,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_tells_what_happened() {
    let _alone = METRICS.lock().await;
    let redis = RedisServer::start();
    let dir = tempfile::tempdir().unwrap();
    let sqlite = shop::sqlite_url(dir.path());
    let small = Shop::open(&sqlite).await;
    let postgres = PostgresServer::shared().database().await;
    let large = Shop::open_with_redis(&postgres, Some(&redis.url())).await;

    // In place from the start, at zero.
    let before = Scrape::of(&small).await;
    assert_eq!(before.find("orders_decided_total", SOLD), Some(0.0));

    for shop in [&small, &large] {
        trade(shop).await;
        process(shop).await;
    }
    Scrape::of(&small).await;
    let scrape = Scrape::of(&large).await;
    assert_eq!(scrape.kinds(), documented());

    // A decision is seen before it is counted.
    let start = Instant::now();
    let scrape = loop {
        let scrape = Scrape::of(&large).await;
        let is_told = |(name, labels, value): &&(&str, Labels, f64)| {
            (scrape.value(name, labels) - value).abs() < f64::EPSILON
        };
        let Some((name, labels, value)) = TOLD.iter().find(|told| !is_told(told)) else {
            break scrape;
        };
        let told = scrape.value(name, labels);
        assert!(
            start.elapsed() < SOON,
            "{name}{labels:?} is {told}, not {value}"
        );
    };
    assert!(scrape.value("orders_cache_reads_total", &[("result", "hit")]) >= 1.0);
    assert!(
        scrape.value("orders_http_requests_in_flight", &[]) >= 1.0,
        "this one"
    );
    assert!(scrape.value("orders_http_connections", &[]) >= 1.0);
    for shop in [&small, &large] {
        a_refused_confirmation_is_no_error_of_the_database(shop).await;
    }
    assert_eq!(small.verify().await, []);
    small.close().await;
    large.close().await;
}

/// A confirmation that is refused, such as one of an order that changed, is no failure of the database:
/// nobody is called for it.
async fn a_refused_confirmation_is_no_error_of_the_database(shop: &Shop) {
    let product = shop.product("Lamp", 5).await;
    let hold = json!({"product_id": product, "quantity": 1, "hold_seconds": 60});
    let held = shop.post("/orders/purchase", &hold).await;
    let confirm = format!("/orders/{}/confirm", held.body["id"].as_str().unwrap());
    let told = async || {
        let scrape = Scrape::of(shop).await;
        let errors = ["unavailable", "outcome_unknown", "backend"].map(|error| {
            let labels = [("operation", "confirm"), ("error", error)];
            scrape.find("orders_batch_errors_total", &labels).unwrap()
        });
        let confirmed = scrape.value("orders_holds_ended_total", &[("outcome", "confirmed")]);
        (errors, confirmed)
    };
    let (errors, confirmed) = told().await;
    let tag = held.header("etag");
    for (line, status) in [("\"0000000000000000\"", 412), (tag.as_str(), 200)] {
        let headers = [("if-match", line)];
        let answer = shop.send("POST", &confirm, &headers, None).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(told().await, (errors, confirmed + 1.0));
}

/// What `promtool check metrics` finds fault with, and a bound on the number of series.
#[tokio::test(flavor = "multi_thread")]
async fn the_names_follow_the_conventions() {
    let _alone = METRICS.lock().await;
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    Scrape::of(&shop).await;
    let scrape = Scrape::of(&shop).await;
    let is_snake = |name: &str| {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(is_part) && !name.contains("__")
    };
    for (name, family) in &scrape.0 {
        assert!(is_snake(name), "{name}");
        assert!(family.help.ends_with('.'), "{name}: {}", family.help);
        let is_counter = family.family_type == PrometheusType::Counter;
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        for part in name.split('_') {
            let not_base = [
                "ms",
                "milliseconds",
                "us",
                "microseconds",
                "minutes",
                "kb",
                "kib",
                "mb",
                "percent",
            ];
            assert!(!not_base.contains(&part), "{name} is not in base units");
            let kinds = [
                "counter",
                "gauge",
                "histogram",
                "summary",
                "bucket",
                "sum",
                "count",
            ];
            assert!(!kinds.contains(&part), "{name} names its type");
        }
        for label in family.get_label_names() {
            assert!(
                is_snake(label) && !label.starts_with('_'),
                "{name}: {label}"
            );
        }
        for sample in family.iter_samples() {
            let PrometheusValue::Histogram(histogram) = &sample.value else {
                continue;
            };
            let counts: Vec<f64> = histogram.buckets.iter().map(|b| b.count.as_f64()).collect();
            assert!(counts.is_sorted(), "{name}: {counts:?}");
            assert_eq!(
                counts.last().copied(),
                histogram.count.map(|n| n as f64),
                "{name}"
            );
        }
        assert!(
            family.iter_samples().count() < 200,
            "{name} has too many series"
        );
    }
    shop.close().await;
}

/// Texts with PromQL, each with the number of metrics that it speaks of at least: the documentation,
/// the rules of Prometheus, the dashboard of Grafana.
const WITH_QUERIES: &[(&str, usize)] = &[
    (OPERATIONS, 21),
    (include_str!("../../deploy/prometheus/alerts.yml"), 11),
    (include_str!("../../deploy/prometheus/alerts.test.yml"), 11),
    (include_str!("../../deploy/grafana/orders.json"), 11),
];

/// The labels that the selector names whose `{` is at the head of this text, if it is one.
fn selected(text: &str) -> Vec<&str> {
    let Some((selector, _)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return Vec::new();
    };
    let matchers = selector
        .split(',')
        .filter_map(|matcher| matcher.split_once('='));
    matchers
        .map(|(label, _)| label.trim_end_matches('!'))
        .collect()
}

/// Every metric that they speak of is one, with these labels: alerts on others would never fire, and
/// plots of others stay empty.
#[test]
fn queries_go_by_metrics_that_there_are() {
    let known = documented();
    for (text, least) in WITH_QUERIES {
        let text = text.replace('\\', "");
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let metrics: BTreeSet<&str> = words
            .filter(|word| word.starts_with("orders_") || word.starts_with("process_"))
            .collect();
        assert!(metrics.len() >= *least, "{metrics:?}");
        for metric in metrics {
            let histogram = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| metric.strip_suffix(suffix))
                .and_then(|name| known.get(name))
                .filter(|(kind, _)| kind == "histogram");
            let (_, labels) = histogram
                .or_else(|| known.get(metric))
                .unwrap_or_else(|| panic!("there is no {metric}"));
            for (at, _) in text.match_indices(&format!("{metric}{{")) {
                for label in selected(&text[at + metric.len()..]) {
                    let is_known = labels.contains(label)
                        || ["instance", "job"].contains(&label)
                        || (histogram.is_some() && label == "le");
                    assert!(is_known, "{metric} has no {label}");
                }
            }
        }
    }
}

/// A database that hangs is told of, in time, and is not asked again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_does_not_hang_the_scrape() {
    let _alone = METRICS.lock().await;
    let url = PostgresServer::shared().database().await;
    let shop = Shop::open_with_redis(&url, None).await;
    let up = [("backend", "database")];
    assert_eq!(Scrape::of(&shop).await.value("orders_backend_up", &up), 1.0);

    let mut holder = PgConnection::connect(&url).await.unwrap();
    holder.execute("BEGIN; LOCK TABLE orders").await.unwrap();
    // What was seen is good for a second.
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        let scrape = Scrape::of(&shop).await;
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        if scrape.value("orders_backend_up", &up) == 0.0 {
            assert!(scrape.value("orders_pending", &[]).is_nan());
            assert!(
                scrape
                    .value("orders_pending_oldest_age_seconds", &[])
                    .is_nan()
            );
            assert!(scrape.value("process_resident_memory_bytes", &[]) > 0.0);
            break;
        }
        assert!(start.elapsed() < SOON, "it is not noticed");
    }
    let scrapes = (0..8).map(|_| Scrape::of(&shop));
    for scrape in futures_util::future::join_all(scrapes).await {
        assert_eq!(scrape.value("orders_backend_up", &up), 0.0);
    }
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
         AND wait_event_type = 'Lock' AND query LIKE '%FROM orders WHERE status <= ''pending'' LIMIT%'",
    )
    .fetch_one(&mut holder)
    .await
    .unwrap();
    // Between two attempts, it waits outside.
    assert!(waiting <= 1, "all who ask wait for one answer");

    holder.execute("ROLLBACK").await.unwrap();
    let start = Instant::now();
    while Scrape::of(&shop).await.value("orders_backend_up", &up) == 0.0 {
        assert!(start.elapsed() < SOON, "it is back");
    }
    shop.close().await;
}

/// Reading metrics takes a key that may read, as soon as there is any.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_those_who_may_read() {
    let _alone = METRICS.lock().await;
    let dir = tempfile::tempdir().unwrap();
    let url = shop::sqlite_url(dir.path());
    let service = OrderService::builder(store::connect(&url).await.unwrap()).build();
    service.store().migrate().await.unwrap();
    let mut keys = Vec::new();
    for (scope, status) in [
        ("read", 200),
        ("admin", 200),
        ("orders", 403),
        ("products", 403),
    ] {
        let request = KeyRequest::new(scope, scope.parse().unwrap()).unwrap();
        let (_, secret) = service.create_key(request).await.unwrap();
        keys.push((secret.expose().to_owned(), status));
    }
    keys.push(("nonsense".to_owned(), 401));
    let shop = Shop::open(&url).await;
    for (key, status) in keys {
        let request = shop.client.get(format!("{}/metrics", shop.origin));
        let answer = request.bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    shop.close().await;
}

/// What panics is counted by the part that it is of.
#[tokio::test(flavor = "multi_thread")]
async fn panics_are_counted() {
    let _alone = METRICS.lock().await;
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let panics = async || {
        let label = [("part", "offer")];
        Scrape::of(&shop).await.value("orders_panics_total", &label)
    };
    let before = panics().await;
    let caught = catch("offer", async { panic!("the test wants it to") }).await;
    let caught: Result<(), _> = caught;
    assert!(caught.is_err());
    assert!((panics().await - before - 1.0).abs() < f64::EPSILON);
    shop.close().await;
}
