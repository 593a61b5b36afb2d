//! A running server and a client for it.
#![allow(dead_code)] // Each test file uses its part.

pub mod events;

use std::{path::Path, sync::Arc, time::Duration};

use order_core::{
    OrderService, WorkerOptions,
    process::{OrderProcessor, ProcessOptions, Processing},
    store::{self, Store},
    testing::PostgresServer,
};
use order_server::{
    Server,
    auth::KeyCache,
    config::{HttpLimits, Redis},
    serve,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The URL of an SQLite database in `dir`.
pub fn sqlite_url(dir: &Path) -> String {
    format!("sqlite://{}", dir.join("orders.db").display())
}

/// Runs a test against a server on each store.
pub async fn on_each_store(test: impl AsyncFn(&Shop)) {
    let dir = tempfile::tempdir().unwrap();
    for url in [
        sqlite_url(dir.path()),
        PostgresServer::shared().database().await,
    ] {
        let shop = Shop::open(&url).await;
        test(&shop).await;
        assert_eq!(shop.verify().await, [], "the books balance");
        shop.close().await;
    }
}

/// A server on a free port, with its worker inside.
pub struct Shop {
    pub client: reqwest::Client,
    pub origin: String,
    pub database_url: String,
    pub service: OrderService,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self {
            status,
            headers,
            body,
        }
    }

    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).map(|v| v.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }

    pub fn is_problem(&self, code: &str) {
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["code"], code, "{}", self.body);
        assert_eq!(self.body["status"], self.status);
    }
}

impl Shop {
    pub async fn open(database_url: &str) -> Self {
        Self::open_with(database_url, None, HttpLimits::default()).await
    }

    pub async fn open_with_redis(database_url: &str, redis_url: Option<&str>) -> Self {
        Self::open_with(database_url, redis_url, HttpLimits::default()).await
    }

    /// A server as its settings make it.
    pub async fn open_with(
        database_url: &str,
        redis_url: Option<&str>,
        limits: HttpLimits,
    ) -> Self {
        let options = Some(WorkerOptions::default());
        Self::open_staffed(database_url, redis_url, limits, options).await
    }

    /// A server on an SQLite database, which is removed with its directory.
    pub async fn open_on_sqlite(limits: HttpLimits) -> (Self, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let shop = Self::open_with(&sqlite_url(dir.path()), None, limits).await;
        (shop, dir)
    }

    /// A server that leaves deciding to others.
    pub async fn open_without_worker(database_url: &str, limits: HttpLimits) -> Self {
        Self::open_staffed(database_url, None, limits, None).await
    }

    async fn open_staffed(
        database_url: &str,
        redis_url: Option<&str>,
        limits: HttpLimits,
        worker: Option<WorkerOptions>,
    ) -> Self {
        let store = store::connect(database_url).await.unwrap();
        store.migrate().await.unwrap();
        let settings = Redis {
            redis_url: redis_url.map(ToOwned::to_owned),
            cache_ttl: 300,
        };
        let redis = settings.client().unwrap();
        let keys = Arc::new(KeyCache::load(store.clone()).await.unwrap());
        let service = settings.builder(store, redis.clone()).build();
        let worker = worker.map(|options| service.worker(options));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let server = Server {
            service: service.clone(),
            worker,
            keys,
            http: limits,
            tls: None,
            redis,
        };
        let served = tokio::spawn(serve(listener, server, stop.clone()));
        Self {
            client: reqwest::Client::new(),
            origin,
            database_url: database_url.to_owned(),
            service,
            stop,
            served,
        }
    }

    /// Tells the server to stop, and waits until it has.
    pub async fn close(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }

    /// The database below, past the server.
    pub async fn store(&self) -> Arc<dyn Store> {
        store::connect(&self.database_url).await.unwrap()
    }

    pub async fn verify(&self) -> Vec<order_core::verify::Discrepancy> {
        self.store().await.verify().await.unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.origin)
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request = self.client.request(method.parse().unwrap(), self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], Some(body)).await
    }

    pub async fn post_text(&self, path: &str, body: &str) -> Answer {
        let request = self
            .client
            .post(self.url(path))
            .header("content-type", "application/json")
            .body(body.to_owned());
        Answer::of(request.send().await.unwrap()).await
    }

    /// Creates a product at 2.50, and gives its id.
    pub async fn product(&self, name: &str, stock: i64) -> String {
        let product = json!({"name": name, "price": "2.50", "stock": stock});
        let created = self.post("/products", &product).await;
        assert_eq!(created.status, 201, "{}", created.body);
        created.body["id"].as_str().unwrap().to_owned()
    }

    /// Follows an accepted order until it is decided.
    pub async fn decided(&self, accepted: &Answer) -> Value {
        let location = accepted.header("location");
        self.decided_order(location.rsplit('/').next().unwrap())
            .await
    }

    /// Follows an order until it is decided.
    pub async fn decided_order(&self, id: &str) -> Value {
        for _ in 0..1_000 {
            let order = self.get(&format!("/orders/{id}")).await.body;
            if order["status"] != "pending" {
                return order;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("order {id} is still pending");
    }

    /// All products and orders, as far as one page goes.
    pub async fn everything(&self) -> (Value, Value) {
        let products = self.get("/products?page=1&page_size=100").await.body;
        let orders = self.get("/orders?page=1&page_size=100").await.body;
        (products, orders)
    }
}

/// A worker besides the one in the server, that does what follows a sale.
pub struct Staff {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Staff {
    pub fn hire(shop: &Shop, processor: Arc<dyn OrderProcessor>) -> Self {
        let options = ProcessOptions::default()
            // Whoever waits for a task in a test waits little longer than it takes.
            .with_idle_poll(Duration::from_millis(20));
        let worker = shop.service.worker(WorkerOptions::default());
        let worker = worker.processing(Processing { processor, options });
        let stop = CancellationToken::new();
        let told = stop.clone();
        let running = tokio::spawn(async move {
            worker.run(told).await;
        });
        Self { stop, running }
    }

    /// Tells the worker to stop, and waits until it has.
    pub async fn dismiss(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}
