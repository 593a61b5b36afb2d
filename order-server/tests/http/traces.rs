//! Traces, as a collector gets them over OTLP.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use order_core::testing::Process;
use order_server::connections::{ConnectionLimits, serve};
use poem::{Request, Response, endpoint::make};
use prost::Message;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Takes spans, as a collector does, and keeps them with the name of the service.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    stop: CancellationToken,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans: Arc<Mutex<Vec<(String, Span)>>> = Arc::default();
        let kept = Arc::clone(&spans);
        let collect = make(move |mut request: Request| {
            let kept = Arc::clone(&kept);
            async move {
                assert_eq!(request.uri().path(), "/v1/traces");
                let body = request.take_body().into_bytes().await.unwrap();
                let sent = ExportTraceServiceRequest::decode(body).unwrap();
                kept.lock().unwrap().extend(spans_of(sent));
                Response::builder()
                    .content_type("application/x-protobuf")
                    .finish()
            }
        });
        let stop = CancellationToken::new();
        let limits = ConnectionLimits::new(10, SOON);
        tokio::spawn(serve(listener, collect, limits, None, stop.clone()));
        Self {
            endpoint,
            spans,
            stop,
        }
    }

    /// Waits for a span of this name.
    async fn span(&self, name: &str) -> (String, Span) {
        let start = Instant::now();
        loop {
            let names: Vec<String> = {
                let spans = self.spans.lock().unwrap();
                if let Some(found) = spans.iter().find(|(_, span)| span.name == name) {
                    return found.clone();
                }
                spans.iter().map(|(_, span)| span.name.clone()).collect()
            };
            assert!(start.elapsed() < SOON, "no {name} among {names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Takes webhooks, but not the first one (500): where, and the `traceparent` of each.
async fn receiver() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook = format!("webhook:http://{}", listener.local_addr().unwrap());
    let (sender, called) = mpsc::unbounded_channel();
    let is_first = AtomicBool::new(true);
    let receive = make(move |request: Request| {
        let parent = request.header("traceparent").unwrap_or("none");
        let _ = sender.send(parent.to_owned());
        let status = match is_first.swap(false, Ordering::Relaxed) {
            true => 500,
            false => 200,
        };
        async move { Response::from(poem::http::StatusCode::from_u16(status).unwrap()) }
    });
    let limits = ConnectionLimits::new(10, SOON);
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, receive, limits, None, stop));
    (webhook, called)
}

fn spans_of(sent: ExportTraceServiceRequest) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for of_service in sent.resource_spans {
        let resource = of_service.resource.unwrap();
        let service = text(&resource.attributes, "service.name").unwrap();
        let version = text(&resource.attributes, "service.version");
        assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        let of_scopes = of_service.scope_spans.into_iter();
        spans.extend(
            of_scopes
                .flat_map(|scope| scope.spans)
                .map(|span| (service.clone(), span)),
        );
    }
    spans
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(attributes: &[KeyValue], key: &str) -> Option<i64> {
    match value(attributes, key)? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server, and where its API is.
struct Server {
    process: Process,
    api: String,
}

impl Server {
    fn start(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_order-server"))
            .args(["--bind-addr", "127.0.0.1:0"])
            .current_dir(dir)
            .env_remove("DATABASE_URL")
            .env_remove("RUST_LOG")
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn();
        let mut process = Process(child.unwrap());
        let out = BufReader::new(process.0.stdout.take().unwrap());
        let first = out.lines().next().unwrap().unwrap();
        let api = first.split_whitespace().next_back().unwrap().to_owned();
        Self { process, api }
    }

    async fn post(&self, path: &str, body: serde_json::Value) -> serde_json::Value {
        let request = reqwest::Client::new().post(format!("{}{path}", self.api));
        let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
        let answer = request.json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.json().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_where_the_trace_of_its_caller_ends() {
    let collector = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (webhook, mut called) = receiver().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint.as_str()),
        ("PROCESSOR", &webhook),
        ("PROCESS_DELAY_MS", "0"),
        ("PROCESS_RETRY_MS", "1"),
        ("WEBHOOK_ALLOW_PRIVATE", "true"),
        ("WEBHOOK_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ];
    let server = Server::start(dir.path(), &variables);
    let lamp = json!({"name": "Lamp", "price": "19.99", "stock": 5});
    let lamp = server.post("/products", lamp).await;
    let order = json!({"product_id": lamp["id"], "quantity": 1});
    server.post("/orders/purchase", order.clone()).await;

    let (service, request) = collector.span("POST /api/v1/orders/purchase").await;
    assert_eq!(service, "order-server");
    assert_eq!(hex(&request.trace_id), TRACE);
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!(request.kind(), SpanKind::Server);
    let attributes = &request.attributes;
    assert_eq!(number(attributes, "http.response.status_code"), Some(201));
    assert_eq!(
        text(attributes, "http.request.method").as_deref(),
        Some("POST")
    );
    let route = text(attributes, "http.route");
    assert_eq!(route.as_deref(), Some("/api/v1/orders/purchase"));
    assert!(text(attributes, "id").is_some(), "the request id is in it");
    assert_ne!(request.status.unwrap_or_default().code(), StatusCode::Error);

    let (_, group) = collector.span("purchase").await;
    assert_eq!(number(&group.attributes, "orders"), Some(1));
    let linked: Vec<_> = group
        .links
        .iter()
        .map(|link| link.span_id.clone())
        .collect();
    let members = std::slice::from_ref(&request.span_id);
    assert_eq!(linked, members, "a group names its members");

    // What follows the sale, and whoever is told of it, is in the trace of the request.
    let (_, task) = collector.span("task").await;
    assert_eq!(hex(&task.trace_id), TRACE);
    assert_eq!(task.parent_span_id, request.span_id);
    let told = called.recv().await.unwrap();
    assert_eq!(told, format!("00-{TRACE}-{}-01", hex(&task.span_id)));
    // A failed call is one that failed, and says how.
    assert_eq!(task.kind(), SpanKind::Client);
    assert_eq!(
        number(&task.attributes, "http.response.status_code"),
        Some(500)
    );
    let status = task.status.unwrap_or_default();
    assert_eq!(status.code(), StatusCode::Error);
    assert!(status.message.contains("500"), "{}", status.message);
    let told = called.recv().await.unwrap();
    assert!(told.starts_with(&format!("00-{TRACE}-")), "{told}");

    server.post("/orders", order).await;
    let told = called.recv().await.unwrap();
    assert!(told.starts_with(&format!("00-{TRACE}-")), "{told}");

    collector.span("accept").await;
    let (_, decided) = collector.span("decide").await;
    assert_eq!(number(&decided.attributes, "orders"), Some(1));
    let spans = collector.spans.lock().unwrap();
    let decisions = spans.iter().filter(|(_, span)| span.name == "decide");
    assert_eq!(
        decisions.count(),
        1,
        "looking for work in vain is not worth a span"
    );
}

#[test]
fn a_collector_that_cannot_be_spoken_to_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let server = Command::new(env!("CARGO_BIN_EXE_order-server"))
        .args(["--bind-addr", "127.0.0.1:0"])
        .current_dir(dir.path())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317")
        .output()
        .unwrap();
    assert_eq!(server.status.code(), Some(1));
    let told = String::from_utf8(server.stderr).unwrap();
    assert!(
        told.contains("OTEL_EXPORTER_OTLP_ENDPOINT: \"localhost:4317\""),
        "{told}"
    );
}

/// A collector that is away costs the server nothing but the spans.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_without_its_collector() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")];
    let mut server = Server::start(dir.path(), &variables);
    let lamp = json!({"name": "Lamp", "price": "19.99", "stock": 5});
    server.post("/products", lamp).await;
    server.process.ask_to_end();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = server.process.0.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < SOON, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
}
