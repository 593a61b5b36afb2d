//! Tasks are never lost: workers that are killed, and a receiver that fails and hangs.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use order_core::{
    OrderService,
    domain::{OrderRequest, ProductRequest, Quantity},
    store::{PostgresStore, Store},
    testing::{PostgresServer, Process},
};
use poem::{
    Request, Response, Server,
    endpoint::make,
    http::StatusCode,
    listener::{Acceptor, Listener, TcpListener},
};
use standardwebhooks::Webhook;

const SALES: usize = 5_000;
const KILLS: usize = 5;
const MAX_ATTEMPTS: i64 = 4;
const LIMIT: Duration = Duration::from_secs(60);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How often each task was attempted, and how often that went well.
type Log = Arc<Mutex<HashMap<String, (u32, u32)>>>;

/// Fails 30 % of the attempts, and hangs at 1 %.
async fn receiver(log: Log) -> u16 {
    let acceptor = TcpListener::bind("127.0.0.1:0")
        .into_acceptor()
        .await
        .unwrap();
    let port = acceptor.local_addr()[0].as_socket_addr().unwrap().port();
    let endpoint = make(move |mut request: Request| {
        let log = Arc::clone(&log);
        async move {
            let body = request.take_body().into_vec().await.unwrap();
            let webhook = Webhook::new(SECRET).unwrap();
            webhook.verify(&body, request.headers()).unwrap();
            let id = request.header("webhook-id").unwrap().to_owned();
            let fate: f64 = rand::random();
            {
                let mut log = log.lock().unwrap();
                let (attempts, well) = log.entry(id).or_default();
                *attempts += 1;
                *well += u32::from(fate >= 0.31);
            }
            match fate {
                ..0.3 => StatusCode::INTERNAL_SERVER_ERROR.into(),
                ..0.31 => std::future::pending().await,
                _ => Response::from(()),
            }
        }
    });
    tokio::spawn(Server::new_with_acceptor(acceptor).run(endpoint));
    port
}

/// A worker in a process of its own, that tells the receiver at this port.
fn hire(database_url: &str, port: u16) -> Process {
    let child = Command::new(env!("CARGO_BIN_EXE_order-cli"))
        .args(["worker", "run"])
        .env("DATABASE_URL", database_url)
        .env("PROCESSOR", format!("webhook:http://127.0.0.1:{port}/"))
        .env("WEBHOOK_SECRETS", SECRET)
        .env("WEBHOOK_ALLOW_PRIVATE", "true")
        .env("PROCESS_CONCURRENCY", "200")
        .env("PROCESS_DELAY_MS", "0")
        .env("PROCESS_TIMEOUT_MS", "500")
        .env("PROCESS_RETRY_MS", "20")
        .env("PROCESS_MAX_ATTEMPTS", MAX_ATTEMPTS.to_string())
        .env("RUST_LOG", "off")
        .stdout(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < LIMIT, "not so after {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_lost_whoever_is_killed_and_whatever_fails() {
    let url = PostgresServer::shared().database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let service = OrderService::builder(Arc::new(store.clone())).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), SALES as i64, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    let log = Log::default();
    let port = receiver(Arc::clone(&log)).await;
    let one = OrderRequest::one(product, Quantity::new(1).unwrap());
    let accepted = service.accept_all(vec![one; SALES]).await;
    assert!(accepted.iter().all(Result::is_ok));

    let attempted = || log.lock().unwrap().len();
    let other = hire(&url, port);
    let mut worker = hire(&url, port);
    for kill in 1..=KILLS {
        let enough = kill * SALES / (KILLS + 2);
        until("some are attempted", async || attempted() >= enough).await;
        drop(worker);
        worker = hire(&url, port);
    }
    let count = async |what: &'static str| -> i64 {
        sqlx::query_scalar(what)
            .fetch_one(store.pool())
            .await
            .unwrap()
    };
    let left =
        "SELECT (SELECT count(*) FROM queue_entries WHERE topic = 'process' AND dead_at IS NULL)
                     + (SELECT count(*) FROM task_batches)";
    let pending = "SELECT count(*) FROM orders WHERE status = 'pending'";
    until("all are done or dead", async || {
        count(pending).await + count(left).await == 0
    })
    .await;
    drop((worker, other));

    let completed = count("SELECT count(*) FROM orders WHERE status = 'completed'").await;
    let dead = count("SELECT count(*) FROM queue_entries WHERE dead_at IS NOT NULL").await;
    assert_eq!(completed + dead, SALES as i64);
    assert!(
        dead > 0,
        "with {MAX_ATTEMPTS} attempts, one in a hundred is given up"
    );
    assert_eq!(store.verify().await.unwrap(), []);
    let log = log.lock().unwrap().clone();
    everybody_was_told(&store, &log).await;
    eprintln!("{completed} completed, {dead} dead");
}

/// Each task was attempted at least once, and no more often than it may; those that are done
/// went well, and of those that are not, each attempt is kept.
async fn everybody_was_told(store: &PostgresStore, log: &HashMap<String, (u32, u32)>) {
    let orders: Vec<(uuid::Uuid, String, i64)> = sqlx::query_as(
        "SELECT id, status::text, (SELECT count(*) FROM process_attempts WHERE order_id = id)
         FROM orders ORDER BY id",
    )
    .fetch_all(store.pool())
    .await
    .unwrap();
    assert_eq!(log.len(), orders.len());
    for (id, status, failed) in orders {
        let (attempts, well) = log[&format!("sale_{id}")];
        assert!(
            i64::from(attempts) <= MAX_ATTEMPTS,
            "{id}: {attempts} attempts"
        );
        match status.as_str() {
            "completed" => {
                assert!(well >= 1, "{id} is completed, and never went well");
                assert!(failed < MAX_ATTEMPTS, "{id}: {failed} failed attempts");
            }
            "success" => assert_eq!(failed, MAX_ATTEMPTS, "{id}: {failed} failed attempts"),
            other => panic!("{id} is {other}"),
        }
    }
}
