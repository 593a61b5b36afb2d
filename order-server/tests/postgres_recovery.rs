//! The real server process, and what failovers and silent networks do to it.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    collections::HashSet,
    future::Future,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use order_core::{
    store::{OrderStore, PostgresStore, Store},
    testing::{HaProxy, PostgresPair, PostgresServer, Process, TcpProxy},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a cause may cost after it has ended.
const RECOVERY: Duration = Duration::from_secs(10);

/// A running server process, and a client of it.
struct Server {
    process: Process,
    origin: String,
    client: reqwest::Client,
}

impl Server {
    fn start(database_url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_order-server"))
            .args(["--bind-addr", "127.0.0.1:0", "--process-delay-ms", "0"])
            .env("DATABASE_URL", database_url)
            .env("RUST_LOG", "warn,sqlx=off")
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.next().unwrap().unwrap();
        let api = said.split_whitespace().nth(1).unwrap();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20));
        Self {
            process: Process(child),
            origin: api.strip_suffix("/api/v1").unwrap().to_owned(),
            client: client.build().unwrap(),
        }
    }

    /// The status, and the body; nothing when there was no answer.
    async fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let request = self.client.post(format!("{}/api/v1{path}", self.origin));
        let answer = request.json(body).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        let request = self.client.get(format!("{}{path}", self.origin));
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    async fn product(&self, stock: u64) -> String {
        let product = json!({"name": "p", "price": 1, "stock": stock});
        let (status, created) = self.post("/products", &product).await.unwrap();
        assert_eq!(status, 201, "{created}");
        created["id"].as_str().unwrap().to_owned()
    }

    async fn sells(&self, product: &str) -> Option<()> {
        let order = json!({"product_id": product, "quantity": 1});
        let (status, _) = self.post("/orders/purchase", &order).await?;
        (status == 201).then_some(())
    }

    async fn ready(&self) -> u16 {
        self.get("/health/ready").await.map_or(0, |answer| answer.0)
    }
}

/// Asks until there is something; how long that took. Panics after `limit`.
async fn within<T, F: Future<Output = Option<T>>>(
    limit: Duration,
    what: &str,
    done: impl Fn() -> F,
) -> Duration {
    let start = Instant::now();
    while done().await.is_none() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

/// Many connections that buy and order, all the time.
struct Load {
    stop: CancellationToken,
    clients: JoinSet<()>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    /// The references of what was acknowledged, with the time.
    orders: Mutex<Vec<(String, Instant)>>,
    asked: AtomicU64,
    /// Answers that were neither yes nor "not now".
    wrong: Mutex<Vec<(u16, Value)>>,
}

impl Load {
    fn begin(server: &Arc<Server>, product: &str, connections: u64) -> Self {
        let (stop, told, mut clients) = (CancellationToken::new(), Arc::default(), JoinSet::new());
        for number in 0..connections {
            let path = if number % 2 == 0 {
                "/orders/purchase"
            } else {
                "/orders"
            };
            let client = buy(
                Arc::clone(server),
                path,
                product.to_owned(),
                Arc::clone(&told),
                stop.clone(),
            );
            clients.spawn(client);
        }
        Self {
            stop,
            clients,
            told,
        }
    }

    async fn end(self) -> Arc<Told> {
        self.stop.cancel();
        self.clients.join_all().await;
        self.told
    }
}

async fn buy(
    server: Arc<Server>,
    path: &'static str,
    product: String,
    told: Arc<Told>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let reference = format!("r{}", told.asked.fetch_add(1, Ordering::Relaxed));
        let order = json!({"product_id": product, "quantity": 1, "reference": reference});
        match server.post(path, &order).await {
            Some((201 | 202, _)) => {
                let mut orders = told.orders.lock().unwrap();
                orders.push((reference, Instant::now()));
            }
            None | Some((503 | 408, _)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Some(answer) => told.wrong.lock().unwrap().push(answer),
        }
    }
}

impl Told {
    /// When the first order after `since` was acknowledged.
    fn first_after(&self, since: Instant) -> Option<Instant> {
        let orders = self.orders.lock().unwrap();
        orders.iter().map(|(_, at)| *at).find(|at| *at > since)
    }

    fn check_answers(&self) {
        let wrong = self.wrong.lock().unwrap();
        assert!(
            wrong.is_empty(),
            "{} wrong answers, as {:?}",
            wrong.len(),
            wrong[0]
        );
    }
}

/// All connections fall silent at once, under load: purchases succeed again within ten seconds.
/// The same when the server is nearly idle, and then its loops go on.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_replaced_within_ten_seconds() {
    let postgres = PostgresServer::shared();
    let proxy = TcpProxy::to(postgres.port()).await;
    let url = postgres.database().await;
    let url = url.replace(&postgres.port().to_string(), &proxy.port().to_string());
    let server = Arc::new(Server::start(&url));
    let product = server.product(1_000_000).await;
    let load = Load::begin(&server, &product, 32);
    let told = Arc::clone(&load.told);
    let some = async || (told.orders.lock().unwrap().len() >= 500).then_some(());
    within(RECOVERY, "some are sold", some).await;
    proxy.silence();
    let silent_at = Instant::now();
    // What was under way in the process or in the kernel is over by then.
    let past = silent_at + Duration::from_millis(500);
    let again = async || told.first_after(past).map(drop);
    let took = within(RECOVERY, "it sells again", again).await;
    println!("silent under load: sold again after {took:?}");
    load.end().await.check_answers();

    // Idle but for the loops, which ask every 50 ms.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    proxy.silence();
    let took = within(RECOVERY, "it sells", async || server.sells(&product).await).await;
    println!("silent while idle: sold again after {took:?}");
    let order = json!({"product_id": product, "quantity": 1});
    let (status, accepted) = server.post("/orders", &order).await.unwrap();
    assert_eq!(status, 202, "{accepted}");
    let path = format!("/api/v1/orders/{}", accepted["id"].as_str().unwrap());
    let completed = async || {
        let (_, order) = server.get(&path).await?;
        (order["status"] == "completed").then_some(())
    };
    within(
        RECOVERY,
        "an order is decided, and its task done",
        completed,
    )
    .await;
    assert_eq!(server.ready().await, 200);
}

/// The database falls silent for good, for connections old and new: `ready` tells, and the process
/// ends when it is asked to, within the time that is given it.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_holds_up_no_end() {
    const GRACE: Duration = Duration::from_secs(15);
    let postgres = PostgresServer::shared();
    let proxy = TcpProxy::to(postgres.port()).await;
    let url = postgres.database().await;
    let url = url.replace(&postgres.port().to_string(), &proxy.port().to_string());
    let mut server = Server::start(&url);
    let product = server.product(1_000).await;
    assert_eq!(server.ready().await, 200);
    server.sells(&product).await.unwrap();
    proxy.take_silently();
    proxy.silence();
    let unready = async || (server.ready().await == 503).then_some(());
    within(Duration::from_secs(4), "it is not ready", unready).await;
    let order = json!({"product_id": product, "quantity": 1});
    let asked = tokio::spawn({
        let (client, url) = (
            server.client.clone(),
            format!("{}/api/v1/orders", server.origin),
        );
        async move { client.post(url).json(&order).send().await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.process.ask_to_end();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = server.process.0.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < GRACE, "it still runs after {GRACE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!("ended after {:?} with {status}", start.elapsed());
    assert!(status.success(), "{status}");
    let _ = asked.await.unwrap();
}

/// Under load through `HAProxy`, the primary is killed and its synchronous standby promoted. What
/// was acknowledged is there, once; the same process sells again within five seconds.
///
/// `SOAK_SECONDS` makes it longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_loses_nothing_and_needs_no_restart() {
    let pair = PostgresPair::start().await;
    let proxy = HaProxy::start(&[pair.primary_port(), pair.standby_port()]).await;
    let url = PostgresPair::url(proxy.port());
    let primary = async || {
        let connected = PostgresStore::connect(&url);
        connected.await.ok().map(drop)
    };
    within(RECOVERY, "HAProxy found the primary", primary).await;
    fail_over(&pair, &url, 15).await;
}

/// The same without a proxy: the URL names both.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_needs_no_proxy() {
    let pair = PostgresPair::start().await;
    fail_over(&pair, &pair.url_of_both(), 9).await;
}

/// Sells through `url` for so many seconds, in the middle of which the primary is replaced.
async fn fail_over(pair: &PostgresPair, url: &str, seconds: u64) {
    let seconds = std::env::var("SOAK_SECONDS").map_or(seconds, |text| text.parse().unwrap());
    let load_for = Duration::from_secs(seconds);
    let server = Arc::new(Server::start(url));
    let product = server.product(100_000_000).await;
    let ready = async || (server.ready().await == 200).then_some(());
    within(RECOVERY, "it is ready", ready).await;

    let begin = Instant::now();
    let load = Load::begin(&server, &product, 64);
    tokio::time::sleep(load_for / 3).await;
    pair.kill_primary();
    let killed = Instant::now();
    // Whoever watches over the two needs a moment, too.
    let unready = async || (server.ready().await == 503).then_some(());
    within(Duration::from_secs(5), "it is not ready", unready).await;
    pair.promote().await;
    let promoted = Instant::now();
    let told = Arc::clone(&load.told);
    let again = async || told.first_after(promoted).map(drop);
    within(Duration::from_secs(5), "it sells again", again).await;
    let back = told
        .first_after(killed + Duration::from_millis(100))
        .unwrap();
    within(Duration::from_secs(5), "it is ready", ready).await;
    tokio::time::sleep(load_for.saturating_sub(begin.elapsed())).await;
    let told = load.end().await;
    told.check_answers();

    let store = PostgresStore::connect(&PostgresPair::url(pair.standby_port()))
        .await
        .unwrap();
    let orders = std::mem::take(&mut *told.orders.lock().unwrap());
    let stored = check_stored(&store, &orders).await;
    println!(
        "failover: {} acknowledged, {} stored; killed to promoted {:?}, promoted to sold {:?}",
        orders.len(),
        stored,
        promoted - killed,
        back.saturating_duration_since(promoted),
    );
}

/// Everything is decided, what was acknowledged is there, nothing is there twice, and the books
/// balance; how many are stored.
async fn check_stored(store: &PostgresStore, acknowledged: &[(String, Instant)]) -> usize {
    let decided = async || (store.backlog().await.unwrap().orders == 0).then_some(());
    within(Duration::from_secs(60), "all is decided", decided).await;
    let stored: Vec<(String, i64)> =
        sqlx::query_as("SELECT reference, count(*) FROM orders GROUP BY reference")
            .fetch_all(store.pool())
            .await
            .unwrap();
    let twice = stored.iter().filter(|(_, count)| *count > 1).count();
    let there: HashSet<&str> = stored.iter().map(|(name, _)| name.as_str()).collect();
    let is_lost = |(name, _): &&(String, Instant)| !there.contains(name.as_str());
    let lost = acknowledged.iter().filter(is_lost).count();
    assert_eq!((lost, twice), (0, 0), "lost, and stored twice");
    assert_eq!(store.verify().await.unwrap(), []);
    stored.len()
}
