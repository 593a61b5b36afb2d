//! What a worker process shows of itself.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shell;

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use order_core::testing::Process;
use serde_json::{Value, json};

use shell::{cli, command, lines, product, row};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_shows_its_metrics_and_that_it_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let line = format!("{}:1", product(dir, "2"));
    for _ in 0..3 {
        row(dir, &["order", "place", "--line", &line]);
    }
    let arguments = [
        "--log-format",
        "json",
        "worker",
        "run",
        "--metrics-addr",
        "127.0.0.1:0",
    ];
    let worker = command(dir, &arguments)
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut worker = Process(worker.unwrap());
    let log = BufReader::new(worker.0.stderr.take().unwrap());
    let mut log = log.lines().map(|line| {
        let line = line.unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|_| panic!("{line}"))
    });
    let listening = log.find(|line| line["message"] == "listening").unwrap();
    let origin = format!("http://{}", listening["address"].as_str().unwrap());
    let get = async |path: &str| reqwest::get(format!("{origin}{path}")).await.unwrap();

    let start = Instant::now();
    loop {
        let text = get("/metrics").await.text().await.unwrap();
        let decided = |outcome: &str, count: &str| {
            text.lines().any(|line| {
                line.starts_with("orders_decided_total{")
                    && line.contains("\"background\"")
                    && line.contains(outcome)
                    && line.ends_with(count)
            })
        };
        if decided("\"success\"", " 2") && decided("\"insufficient_stock\"", " 1") {
            break;
        }
        assert!(start.elapsed() < SOON, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get("/health/ready").await.status(), 200);
    let nothing = get("/api/v1/products").await;
    assert_eq!(nothing.status(), 404, "it is no server");
    assert_eq!(
        nothing.headers()["content-type"],
        "application/problem+json"
    );

    worker.ask_to_end();
    let mut told = String::new();
    let mut out = BufReader::new(worker.0.stdout.take().unwrap());
    out.read_line(&mut told).unwrap();
    assert_eq!(
        lines(told.as_bytes()),
        [json!({"sold": 2, "held": 0, "failed": 1})]
    );
    assert!(worker.0.wait().unwrap().success());

    let everywhere = ["worker", "run", "--drain", "--metrics-addr", "0.0.0.0:0"];
    let refused = cli(dir, &everywhere);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("there are no API keys"), "{told}");
}
