//! A server and two workers, as processes on one database, one of them killed in between.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use order_core::{
    OrderService,
    domain::{
        OrderId, OrderRequest, OrderStatus, PageRequest, PageSize, ProductRequest, Quantity,
        RequestedLine,
    },
    queue::{OrderQueue, RedisQueue, Topic},
    store::{self, OrderQuery, PostgresStore, Store},
    testing::{
        PostgresServer, Process, RedisServer,
        load::{Load, Refusal, Shop, check, create_products, place_orders, wait_until_decided},
    },
};
use serde_json::{Value, json};

fn launch(program: &Path, arguments: &[&str], database_url: &str) -> Process {
    let child = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", database_url)
        .stdout(Stdio::piped())
        .spawn();
    Process(child.unwrap_or_else(|error| panic!("{}: {error}", program.display())))
}

fn terminate(mut process: Process) -> ExitStatus {
    process.ask_to_end();
    process.0.wait().unwrap()
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

/// A Redis that may evict the queue is no place for it, and a worker says so at its start.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_evict_the_queue_is_warned_of() {
    let redis = RedisServer::start();
    let set = redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(set.trim(), "OK");
    let url = PostgresServer::shared().database().await;
    let mut worker = Command::new(env!("CARGO_BIN_EXE_order-cli"))
        .args(["--redis-url", &redis.url(), "worker", "run"])
        .env("DATABASE_URL", url)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(worker.stderr.take().unwrap()).lines();
    let _worker = Process(worker);
    let warning = log.map(Result::unwrap).find(|line| line.contains("WARN"));
    assert!(warning.unwrap().contains("noeviction"));
}

/// A worker that holds 1 000 claims on Redis is killed; another takes them over when their
/// lease ends, and each order is decided once.
#[tokio::test(flavor = "multi_thread")]
async fn claims_of_a_killed_worker_are_taken_over() {
    const ORDERS: usize = 1_000;
    const LEASE_MS: u64 = 2_000;
    let redis = RedisServer::start();
    let url = PostgresServer::shared().database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let queue: Arc<dyn OrderQueue> = Arc::new(RedisQueue::new(redis.client()));
    let service = OrderService::builder(Arc::new(store.clone()))
        .queue(Arc::clone(&queue))
        .build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 600, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    let one = OrderRequest::one(product, Quantity::new(1).unwrap());
    assert!(
        service
            .accept_all(vec![one; ORDERS])
            .await
            .iter()
            .all(Result::is_ok)
    );
    while queue.stats(Topic::Validate).await.unwrap().waiting < ORDERS as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    // While we hold the product, the worker claims the orders and can get no further.
    let mut hold = store.pool().begin().await.unwrap();
    sqlx::query("SELECT 1 FROM products FOR UPDATE")
        .execute(&mut *hold)
        .await
        .unwrap();
    let cli = Path::new(env!("CARGO_BIN_EXE_order-cli"));
    let (redis_url, lease_ms) = (redis.url(), LEASE_MS.to_string());
    let work = [
        "--redis-url",
        &redis_url,
        "worker",
        "run",
        "--lease-ms",
        &lease_ms,
        "--processor",
        "off",
    ];
    let killed = launch(cli, &work, &url);
    while queue.stats(Topic::Validate).await.unwrap().in_flight < ORDERS as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(killed);
    hold.rollback().await.unwrap();

    let start = Instant::now();
    let other = launch(cli, &work, &url);
    let store: Arc<dyn Store> = Arc::new(store);
    wait_until_decided(&store, Duration::from_millis(LEASE_MS + 5_000)).await;
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(LEASE_MS / 2),
        "nobody had to wait: {took:?}"
    );
    while queue.stats(Topic::Validate).await.unwrap().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(terminate(other).success());
    assert_eq!(store.verify().await.unwrap(), []);
    assert_eq!(store.product(product).await.unwrap().unwrap().stock, 0);
    let sold = OrderQuery {
        status: Some(OrderStatus::Success),
        page: PageRequest::numbered(1, PageSize::new(1).unwrap()).unwrap(),
        ..OrderQuery::default()
    };
    assert_eq!(store.orders(&sold).await.unwrap().total, Some(600));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_two_workers_serve_a_crowd_exactly_and_one_is_killed() {
    let url = PostgresServer::shared().database().await;
    let store: Arc<dyn Store> = store::connect(&url).await.unwrap();
    let service = OrderService::builder(Arc::clone(&store)).build();
    let load = Load::STANDARD;
    let products = create_products(&service, load).await;

    let cli = Path::new(env!("CARGO_BIN_EXE_order-cli"));
    let server = cli.with_file_name("order-server");
    assert!(
        server.exists(),
        "build the server first: cargo build -p order-server"
    );
    let mut server = launch(&server, &["--bind-addr", "127.0.0.1:0"], &url);
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    let origin = said
        .split_whitespace()
        .last()
        .unwrap()
        .replace("/api/v1", "");
    let address = origin.trim_start_matches("http://").to_owned();
    let health = |address: &str| {
        Command::new(cli)
            .args(["health", "--bind-addr", address])
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(health(&address), Some(0));
    assert_eq!(health("127.0.0.1:9"), Some(1));
    let workers = [(); 2].map(|()| launch(cli, &["worker", "run"], &url));

    let http: Arc<dyn Shop> = Arc::new(Http {
        client: reqwest::Client::new(),
        origin,
    });
    let [killed, stopped] = workers;
    let kill = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(killed);
    });
    let told = place_orders(&[http], &products, load).await;
    kill.await.unwrap();
    wait_until_decided(&store, Duration::from_secs(60)).await;
    check(&store, &products, load, &told).await;
    assert!(
        terminate(stopped).success(),
        "a worker that is told to stop ends well"
    );
    assert!(
        terminate(server).success(),
        "a server that is told to stop ends well"
    );
}
