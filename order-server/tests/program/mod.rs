//! The server as a program of its own, with its defaults, and a client for it.
#![allow(dead_code)] // Each test file uses its part.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use order_core::testing::{Process, free_port};
use serde_json::{Value, json};

/// How long a program may take to start, and to end.
const LIMIT: Duration = Duration::from_secs(20);

pub struct Program {
    pub process: Process,
    http: reqwest::Client,
    pub origin: String,
}

/// How a request was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Value,
    pub took: Duration,
}

impl Answer {
    /// Not now: come back.
    pub fn is_refused(&self) {
        assert_eq!(self.status, 503, "{self:?}");
        assert!(self.retry_after.is_some(), "{self:?}");
    }
}

impl Program {
    /// A server whose database is `orders.db` in `dir`.
    pub async fn start(dir: &Path) -> Self {
        let server = Command::new(env!("CARGO_BIN_EXE_order-server"));
        Self::start_by(server, dir).await
    }

    /// The same, by a command that becomes the server.
    pub async fn start_by(mut command: Command, dir: &Path) -> Self {
        let port = free_port();
        let child = command
            .env("BIND_ADDR", format!("127.0.0.1:{port}"))
            .env("RUST_LOG", "warn")
            .env_remove("DATABASE_URL")
            .current_dir(dir)
            .stdout(Stdio::null())
            .spawn();
        let mut program = Self {
            process: Process(child.unwrap()),
            http: reqwest::Client::new(),
            origin: format!("http://127.0.0.1:{port}/api/v1"),
        };
        let start = Instant::now();
        while program.http.get(&program.origin).send().await.is_err() {
            let ended = program.process.0.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {ended:?}");
            assert!(start.elapsed() < LIMIT, "no server");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        program
    }

    /// Has it end well.
    pub async fn stop(&mut self) {
        self.process.ask_to_end();
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(start.elapsed() < LIMIT, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.origin));
        Self::answer(request).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.origin)).json(body);
        Self::answer(request).await
    }

    async fn answer(request: reqwest::RequestBuilder) -> Answer {
        let start = Instant::now();
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let bytes = answer.bytes().await.unwrap();
        Answer {
            status,
            retry_after,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            took: start.elapsed(),
        }
    }

    /// The most memory that it has had, on Linux.
    pub fn peak_mib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.0.id());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = peak.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() / 1_024
    }

    /// Creates a product, and gives its id.
    pub async fn product(&self, stock: u32) -> Value {
        let product = json!({"name": "p", "price": "1.00", "stock": stock});
        let created = self.post("/products", &product).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.body["id"].clone()
    }

    /// Buys one piece.
    pub async fn buy(&self, product: &Value) -> Answer {
        let order = json!({"product_id": product, "quantity": 1});
        self.post("/orders/purchase", &order).await
    }

    pub async fn is_ready(&self) -> bool {
        let ready = self.get("/health/ready").await;
        if ready.status == 200 {
            return true;
        }
        ready.is_refused();
        false
    }

    /// Waits until something is so, for no longer than `limit`.
    pub async fn wait_until(limit: Duration, is_so: impl AsyncFn() -> bool) -> Duration {
        let start = Instant::now();
        while !is_so().await {
            assert!(start.elapsed() < limit, "it did not come to be");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }
}
