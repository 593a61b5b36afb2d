//! Following orders live: waiting for a decision, and the stream of states.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt};
use order_core::{
    OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{OrderRequest, ProductId, Quantity},
    testing::PostgresServer,
};
use order_server::config::HttpLimits;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use shop::{Answer, Shop, events::Events, on_each_store};

const LIMIT: Duration = Duration::from_secs(30);

async fn follow(shop: &Shop, id: &str, seen: Option<&str>) -> Events {
    Events::open(shop, &format!("/orders/{id}/events"), seen).await
}

async fn order(shop: &Shop, product: &str) -> String {
    let body = json!({"product_id": product, "quantity": 1});
    let accepted = shop.post("/orders", &body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    accepted.body["id"].as_str().unwrap().to_owned()
}

async fn wait_for(
    shop: &Shop,
    method: &str,
    path: &str,
    wait: &str,
    body: Option<&Value>,
) -> Answer {
    shop.send(method, path, &[("prefer", wait)], body).await
}

/// A worker, until it is stopped.
fn hire(service: &OrderService) -> (CancellationToken, JoinHandle<()>) {
    let (worker, stop) = (
        service.worker(WorkerOptions::default()),
        CancellationToken::new(),
    );
    let told = stop.clone();
    let work = tokio::spawn(async move {
        worker.run(told).await;
    });
    (stop, work)
}

/// A service with connections of its own, as another process would have it.
async fn another(shop: &Shop) -> OrderService {
    OrderService::builder(shop.store().await).build()
}

/// Waits until so many orders are watched.
async fn until_watched(shop: &Shop, orders: usize) {
    let start = Instant::now();
    while shop.service.watch_stats().orders != orders {
        let stats = shop.service.watch_stats();
        assert!(start.elapsed() < LIMIT, "{stats:?}, not {orders}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_answered_with_the_decision() {
    on_each_store(async |shop| {
        let product = shop.product("p", 1).await;
        for (quantity, status) in [(1, "success"), (9, "failed")] {
            let body = json!({"product_id": product, "quantity": quantity});
            let answer = wait_for(shop, "POST", "/orders", "wait=20", Some(&body)).await;
            assert_eq!(
                (answer.status, &answer.body["status"]),
                (200, &json!(status))
            );
            assert_eq!(answer.header("preference-applied"), "wait=20");
            let path = format!("/orders/{}", answer.body["id"].as_str().unwrap());
            assert_eq!(answer.header("location"), format!("/api/v1{path}"));
            assert_eq!(shop.get(&path).await.body, answer.body);
            assert_eq!(shop.get(&path).await.header("preference-applied"), "");
        }
        let bad = json!({"product_id": product, "quantity": 0});
        let bad = wait_for(shop, "POST", "/orders", "wait=20", Some(&bad)).await;
        assert_eq!(bad.status, 422);
        let path = "/orders/01900000-0000-7000-8000-000000000000";
        for path in [path.to_owned(), format!("{path}/events")] {
            assert_eq!(
                wait_for(shop, "GET", &path, "wait=20", None).await.status,
                404
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_runs_out_and_others_may_decide() {
    // Neither who waits nor a stream is cut off when a request should be over.
    let limits = HttpLimits {
        request_timeout_ms: 500,
        ..HttpLimits::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let url = shop::sqlite_url(dir.path());
    let shop = Shop::open_without_worker(&url, limits).await;
    let product = shop.product("p", 5).await;
    let early = order(&shop, &product).await;
    let mut events = follow(&shop, &early, None).await;
    assert_eq!(events.next().await.unwrap().0, "pending");
    let body = json!({"product_id": product, "quantity": 1});
    for (wait, waits, applied) in [("wait=1", true, "wait=1"), ("wait=x", false, "")] {
        let start = Instant::now();
        let answer = wait_for(&shop, "POST", "/orders", wait, Some(&body)).await;
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (202, &json!("pending"))
        );
        assert_eq!(answer.header("preference-applied"), applied);
        assert_eq!(start.elapsed() >= Duration::from_secs(1), waits);
    }
    let id = order(&shop, &product).await;
    let path = format!("/orders/{id}");
    let waiting = wait_for(&shop, "GET", &path, "wait=30", None);
    let decide = async {
        until_watched(&shop, 2).await;
        hire(&another(&shop).await)
    };
    let (answer, (stop, work)) = tokio::join!(waiting, decide);
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("success"))
    );
    assert_eq!(answer.header("preference-applied"), "wait=30");
    assert_eq!(events.next().await.unwrap().0, "success");
    drop(events);
    until_watched(&shop, 0).await;
    stop.cancel();
    work.await.unwrap();
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_taken_up_without_a_gap() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let id = order(shop, &product).await;
        shop.decided_order(&id).await;
        let path = format!("/orders/{id}");
        let mut first = follow(shop, &id, None).await;
        let (seen, status) = first.next().await.unwrap();
        assert_eq!(seen, "success");
        assert_eq!(status, shop.get(&format!("{path}/status")).await.body);
        drop(first);
        shop.post(&format!("{path}/cancel"), &Value::Null).await;
        for (seen, missed) in [
            (Some("success"), &["cancelled"][..]),
            (Some("pending"), &["success", "cancelled"]),
            // Never in that state, and no state at all.
            (Some("failed"), &["cancelled"]),
            (Some("nonsense"), &["cancelled"]),
            (None, &["cancelled"]),
        ] {
            let mut events = follow(shop, &id, seen).await;
            let mut told = Vec::new();
            let mut last = Value::Null;
            while let Some((id, data)) = events.next().await {
                assert_eq!(data["status"], id);
                told.push(id);
                last = data;
            }
            assert_eq!(told, missed, "after {seen:?}");
            assert_eq!(last, shop.get(&format!("{path}/status")).await.body);
        }
        let headers = [("last-event-id", "cancelled")];
        let over = format!("{path}/events");
        assert_eq!(shop.send("GET", &over, &headers, None).await.status, 204);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_too_many_ends_the_quietest_one() {
    let dir = tempfile::tempdir().unwrap();
    let limits = HttpLimits {
        max_streams_per_key: 2,
        ..HttpLimits::default()
    };
    let shop = Shop::open_without_worker(&shop::sqlite_url(dir.path()), limits).await;
    let product = shop.product("p", 5).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let id = order(&shop, &product).await;
        let mut events = follow(&shop, &id, None).await;
        assert_eq!(events.next().await.unwrap().0, "pending");
        streams.push((id, events));
    }
    assert_eq!(streams.remove(0).1.next().await, None);
    for (id, mut events) in streams {
        shop.post(&format!("/orders/{id}/cancel"), &Value::Null)
            .await;
        assert_eq!(events.next().await.unwrap().0, "cancelled");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_tells_each_state_and_ends_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let url = shop::sqlite_url(dir.path());
    let shop = Shop::open_without_worker(&url, HttpLimits::default()).await;
    let product = shop.product("p", 5).await;
    let sold = order(&shop, &product).await;
    let mut events = follow(&shop, &sold, None).await;
    assert_eq!(events.next().await.unwrap().0, "pending");
    let (stop, work) = hire(&another(&shop).await);
    assert_eq!(events.next().await.unwrap().0, "success");
    stop.cancel();
    work.await.unwrap();
    shop.post(&format!("/orders/{sold}/cancel"), &Value::Null)
        .await;
    assert_eq!(events.next().await.unwrap().0, "cancelled");
    assert_eq!(events.next().await, None);
    until_watched(&shop, 0).await;
    // Neither a stream nor somebody who waits keeps the server from stopping.
    let late = order(&shop, &product).await;
    let mut events = follow(&shop, &late, None).await;
    assert_eq!(events.next().await.unwrap().0, "pending");
    let waiting = shop.client.get(shop.url(&format!("/orders/{late}")));
    let waiting = tokio::spawn(waiting.header("prefer", "wait=30").send());
    let another_one = order(&shop, &product).await;
    let other = shop.client.get(shop.url(&format!("/orders/{another_one}")));
    let other = tokio::spawn(other.header("prefer", "wait=30").send());
    until_watched(&shop, 2).await;
    let start = Instant::now();
    shop.close().await;
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(events.next().await, None);
    for waiting in [waiting, other] {
        let answer = Answer::of(waiting.await.unwrap().unwrap()).await;
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (200, &json!("pending"))
        );
    }
}

const STREAMS: usize = 2_000;
const WAITING: usize = 200;
/// How soon after the decision each has to know. Built for debugging, on cores that server,
/// database and 2 200 clients share with other tests, the code takes longer than the watching.
const SOON: Duration = if cfg!(debug_assertions) {
    Duration::from_secs(5)
} else {
    Duration::from_millis(500)
};

/// How long ago that was.
fn since(time: &Value) -> Duration {
    let time: DateTime<Utc> = time.as_str().unwrap().parse().unwrap();
    (SystemClock.now() - time).to_std().unwrap_or_default()
}

async fn follows(mut events: Events) -> Duration {
    let (state, data) = events.next().await.unwrap();
    assert_eq!(state, "success");
    since(&data["updated_at"])
}

async fn waits(request: reqwest::RequestBuilder) -> Duration {
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("success"))
    );
    since(&answer.body["decided_at"])
}

/// Opens the streams of many new orders.
async fn open_streams(shop: &Shop, product: &str) -> Vec<Events> {
    let product = ProductId(product.parse().unwrap());
    let request = OrderRequest::one(product, Quantity::new(1).unwrap());
    let orders = shop.service.accept_all(vec![request; STREAMS]).await;
    let open = orders.into_iter().map(async |order| {
        let id = order.unwrap().id.to_string();
        let mut events = follow(shop, &id, None).await;
        assert_eq!(events.next().await.unwrap().0, "pending");
        events
    });
    stream::iter(open).buffer_unordered(32).collect().await
}

/// Two thousand and two hundred watch when `who` begins to decide.
async fn a_crowd_follows(shop: &Shop, who: &OrderService) {
    let product = shop.product("p", 1_000_000).await;
    let mut told = JoinSet::new();
    for events in open_streams(shop, &product).await {
        told.spawn(follows(events));
    }
    for _ in 0..WAITING {
        let body = json!({"product_id": product, "quantity": 1});
        let request = shop.client.post(shop.url("/orders")).json(&body);
        told.spawn(waits(request.header("prefer", "wait=30")));
    }
    until_watched(shop, STREAMS + WAITING).await;
    let (start, before) = (Instant::now(), shop.service.watch_stats().queries);
    let (stop, work) = hire(who);
    let mut slowest = Duration::ZERO;
    while let Some(took) = told.join_next().await {
        slowest = slowest.max(took.unwrap());
    }
    let (took, queries) = (start.elapsed(), shop.service.watch_stats().queries - before);
    println!("slowest {slowest:?}; {queries} queries in {took:?}");
    assert!(slowest < SOON, "{slowest:?}");
    // Three for each look, and not more than a look in 20 ms.
    let most = 3 * (1 + took.as_millis() / 20);
    assert!(u128::from(queries) <= most, "{queries} in {took:?}");
    until_watched(shop, 0).await;
    stop.cancel();
    work.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_follows_live_at_the_cost_of_a_few() {
    let dir = tempfile::tempdir().unwrap();
    let url = shop::sqlite_url(dir.path());
    for url in [url, PostgresServer::shared().database().await] {
        let shop = Shop::open_without_worker(&url, HttpLimits::default()).await;
        a_crowd_follows(&shop, &shop.service).await;
        a_crowd_follows(&shop, &another(&shop).await).await;
        shop.close().await;
    }
}
