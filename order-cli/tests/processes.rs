//! A server and two workers, as processes on one database, one of them killed in between.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use order_core::{
    OrderService,
    domain::{OrderId, RequestedLine},
    store::{self, Store},
    testing::{
        PostgresServer,
        load::{Crowd, Refusal, Shop, check, let_in, stock_up, wait_until_decided},
    },
};
use serde_json::{Value, json};

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(program: &std::path::Path, arguments: &[&str], database_url: &str) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .env("DATABASE_URL", database_url)
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{}: {error}", program.display())))
    }

    fn terminate(mut self) -> std::process::ExitStatus {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        self.0.wait().unwrap()
    }
}

/// The server over HTTP.
struct Http {
    client: reqwest::Client,
    origin: String,
}

impl Http {
    async fn post(&self, path: &str, lines: Vec<RequestedLine>) -> (u16, Value) {
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| json!({"product_id": line.product_id, "quantity": line.quantity}))
            .collect();
        let request = self.client.post(format!("{}/api/v1{path}", self.origin));
        let response = request.json(&json!({"lines": lines})).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

fn id(body: &Value, field: &str) -> uuid::Uuid {
    body[field].as_str().unwrap().parse().unwrap()
}

#[async_trait]
impl Shop for Http {
    async fn accept(&self, lines: Vec<RequestedLine>) -> OrderId {
        let (status, body) = self.post("/orders", lines).await;
        assert_eq!(status, 202, "{body}");
        OrderId(id(&body, "id"))
    }

    async fn purchase(&self, lines: Vec<RequestedLine>) -> Result<OrderId, Refusal> {
        let (status, body) = self.post("/orders/purchase", lines).await;
        if status == 201 {
            return Ok(OrderId(id(&body, "id")));
        }
        assert_eq!((status, &body["code"]), (409, &json!("insufficient_stock")));
        let pieces = |field: &str| body[field].as_i64().unwrap();
        Err((
            id(&body, "product_id").into(),
            pieces("requested"),
            pieces("available"),
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_two_workers_serve_a_crowd_exactly_and_one_is_killed() {
    let url = PostgresServer::shared().database().await;
    let store: Arc<dyn Store> = store::connect(&url).await.unwrap();
    let service = OrderService::builder(Arc::clone(&store)).build();
    let crowd = Crowd::STANDARD;
    let products = stock_up(&service, crowd).await;

    let cli = std::path::Path::new(env!("CARGO_BIN_EXE_order-cli"));
    let server = cli.with_file_name("order-server");
    assert!(
        server.exists(),
        "build the server first: cargo build -p order-server"
    );
    let mut server = Process::start(&server, &["--bind-addr", "127.0.0.1:0"], &url);
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    let origin = said
        .split_whitespace()
        .last()
        .unwrap()
        .replace("/api/v1", "");
    let workers = [(); 2].map(|()| Process::start(cli, &["worker", "run"], &url));

    let http: Arc<dyn Shop> = Arc::new(Http {
        client: reqwest::Client::new(),
        origin,
    });
    let [killed, stopped] = workers;
    let kill = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(killed);
    });
    let told = let_in(&[http], &products, crowd).await;
    kill.await.unwrap();
    wait_until_decided(&store, Duration::from_secs(60)).await;
    check(&store, &products, crowd, &told).await;
    assert!(
        stopped.terminate().success(),
        "a worker that is told to stop ends well"
    );
    assert!(
        server.terminate().success(),
        "a server that is told to stop ends well"
    );
}
