//! Requests that come again with their `Idempotency-Key`: each is carried out once, whatever
//! happens to the server in between.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use order_core::{
    OrderService,
    keys::KeyRequest,
    store,
    testing::{PostgresServer, Process, free_port},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::shop::{self, Answer, Shop, on_each_store};

async fn once(shop: &Shop, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("idempotency-key", key)];
    shop.send("POST", path, &headers, Some(body)).await
}

/// Whether the answer says that an earlier request did it.
fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == "true"
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_placed_once_however_often_it_comes() {
    on_each_store(async |shop| {
        let product = shop.product("p", 10).await;
        let body = json!({"product_id": product, "quantity": 2});
        for (path, key, status) in [("/orders/purchase", "buy", 201), ("/orders", "accept", 202)] {
            let first = once(shop, path, key, &body).await;
            assert_eq!((first.status, is_replay(&first)), (status, false), "{path}");
            shop.decided_order(first.body["id"].as_str().unwrap()).await;
            // The same order, written in another way.
            let again = json!({"lines": [{"quantity": 2, "product_id": product}]});
            let again = once(shop, path, key, &again).await;
            assert_eq!((again.status, is_replay(&again)), (status, true), "{path}");
            assert_eq!(again.body, first.body, "{path}");
            assert_eq!(again.header("location"), first.header("location"));
        }
        // Who would wait is told how the order stands.
        let headers = [("idempotency-key", "accept"), ("prefer", "wait=10")];
        let waited = shop.send("POST", "/orders", &headers, Some(&body)).await;
        assert_eq!((waited.status, is_replay(&waited)), (200, true));
        assert_ne!(waited.body["status"], "pending");

        for other in [
            json!({"product_id": product, "quantity": 3}),
            json!({"product_id": product, "quantity": 2, "reference": "a"}),
        ] {
            let refused = once(shop, "/orders/purchase", "buy", &other).await;
            assert_eq!(refused.status, 422);
            refused.is_problem("idempotency_key_reused");
        }
        let refused = once(shop, "/orders", "buy", &body).await;
        refused.is_problem("idempotency_key_reused");
        let (_, orders) = shop.everything().await;
        assert_eq!(orders["total"], 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_and_cancellations_change_once() {
    on_each_store(async |shop| {
        let product = shop.product("p", 5).await;
        let path = format!("/products/{product}/stock");
        let ten = json!({"delta": 10});
        for replay in [false, true, true] {
            let adjusted = once(shop, &path, "count", &ten).await;
            assert_eq!((adjusted.status, is_replay(&adjusted)), (200, replay));
            assert_eq!(adjusted.body["stock"], 15);
            assert_eq!(adjusted.header("etag"), "\"2\"");
        }
        let refused = once(shop, &path, "count", &json!({"delta": 11})).await;
        refused.is_problem("idempotency_key_reused");

        let body = json!({"product_id": product, "quantity": 1});
        let bought = shop.post("/orders/purchase", &body).await;
        let cancel = format!("/orders/{}/cancel", bought.body["id"].as_str().unwrap());
        let first = once(shop, &cancel, "cancel", &json!({})).await;
        let again = once(shop, &cancel, "cancel", &json!({})).await;
        assert_eq!((first.status, again.status), (200, 200));
        assert_eq!((is_replay(&first), is_replay(&again)), (false, true));
        assert_eq!(first.body, again.body);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_items_of_a_bulk_have_keys_of_their_own() {
    on_each_store(async |shop| {
        let product = shop.product("p", 10).await;
        let item = |key: &str, quantity: i64| {
            json!({"product_id": product, "quantity": quantity, "idempotency_key": key})
        };
        let first = json!({"orders": [item("a", 1), item("a", 1), item("a", 2), item("b c", 1)]});
        let first = shop.post("/orders/bulk", &first).await;
        assert_eq!(first.status, 202, "{}", first.body);
        assert_eq!((&first.body["accepted"], &first.body["rejected"]), (&json!(2), &json!(2)));
        let results = &first.body["results"];
        assert_eq!(results[1]["order_id"], results[0]["order_id"]);
        assert_eq!((&results[0]["replayed"], &results[1]["replayed"]), (&Value::Null, &json!(true)));
        assert_eq!(results[2]["error"]["code"], "idempotency_key_reused");
        assert_eq!(results[3]["error"]["field"], "idempotency_key");
        // An item is the same request as one that comes alone.
        let body = json!({"product_id": product, "quantity": 1});
        let alone = once(shop, "/orders", "a", &body).await;
        assert!(is_replay(&alone));
        assert_eq!(alone.body["id"], results[0]["order_id"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_purchase_is_decided_anew() {
    on_each_store(async |shop| {
        let product = shop.product("p", 1).await;
        let body = json!({"product_id": product, "quantity": 2});
        for _ in 0..2 {
            let refused = once(shop, "/orders/purchase", "k", &body).await;
            refused.is_problem("insufficient_stock");
        }
        let stock = format!("/products/{product}/stock");
        shop.post(&stock, &json!({"delta": 1})).await;
        let sold = once(shop, "/orders/purchase", "k", &body).await;
        assert_eq!((sold.status, is_replay(&sold)), (201, false));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_with_different_api_keys_choose_keys_for_themselves() {
    on_each_store(async |shop| {
        let product = shop.product("p", 10).await;
        let service = OrderService::builder(shop.store().await).build();
        let body = json!({"product_id": product, "quantity": 1});
        let mut orders = HashSet::new();
        for name in ["one", "two"] {
            let request = KeyRequest::new(name, "orders".parse().unwrap()).unwrap();
            let (_, secret) = service.create_key(request).await.unwrap();
            let bearer = format!("Bearer {}", secret.expose());
            until_known(shop, &bearer).await;
            let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
            let path = "/orders/purchase";
            let bought = shop.send("POST", path, &headers, Some(&body)).await;
            assert_eq!(bought.status, 201, "{}", bought.body);
            assert!(!is_replay(&bought));
            orders.insert(bought.body["id"].to_string());
        }
        assert_eq!(orders.len(), 2);
    })
    .await;
}

/// A client that changes its API key between two tries is not charged twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_api_key_replays_what_the_one_before_did() {
    on_each_store(async |shop| {
        let product = shop.product("p", 10).await;
        let service = OrderService::builder(shop.store().await).build();
        let order = json!({"product_id": product, "quantity": 1});
        let delta = json!({"delta": 1});
        let stock = format!("/products/{product}/stock");
        let mut answers = Vec::new();
        for name in ["of 2026", "of 2027"] {
            let request = KeyRequest::new(name, "orders products".parse().unwrap()).unwrap();
            let client = service.create_client("till").await;
            assert_eq!(client.is_err(), name == "of 2027", "its name is taken");
            let request = request.for_client(Some("till".to_owned()));
            let (_, secret) = service.create_key(request).await.unwrap();
            let bearer = format!("Bearer {}", secret.expose());
            until_known(shop, &bearer).await;
            let mut ids = Vec::new();
            for (path, key, body) in [
                ("/orders/purchase", "bought", &order),
                ("/orders", "accepted", &order),
                (stock.as_str(), "adjusted", &delta),
            ] {
                let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
                let answer = shop.send("POST", path, &headers, Some(body)).await;
                assert!(answer.status < 300, "{}", answer.body);
                assert_eq!(is_replay(&answer), name == "of 2027", "{path} {name}");
                ids.push(answer.body["id"].clone());
            }
            answers.push(ids);
        }
        assert_eq!(answers[0], answers[1]);
    })
    .await;
}

/// Waits until the server asks for keys, and knows this one.
async fn until_known(shop: &Shop, bearer: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let headers = [("authorization", bearer)];
    while shop.get("/orders").await.status != 401
        || shop.send("GET", "/orders", &headers, None).await.status != 200
    {
        assert!(Instant::now() < deadline, "the key is not in force");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_one_is_refused_by_name() {
    on_each_store(async |shop| {
        let product = shop.product("p", 1).await;
        let body = json!({"product_id": product, "quantity": 1});
        for bad in ["", "a b", &"x".repeat(256)] {
            let refused = once(shop, "/orders/purchase", bad, &body).await;
            assert_eq!(refused.status, 422, "{bad:?}");
            assert_eq!(refused.body["field"], "Idempotency-Key");
        }
        assert_eq!(shop.everything().await.1["total"], 0);
    })
    .await;
}

const KEYS: usize = 600;
const TIMES: usize = 5;
const CLIENTS: usize = 50;

fn serve(database_url: &str, port: u16, dir: &Path) -> Process {
    let child = Command::new(env!("CARGO_BIN_EXE_order-server"))
        .args(["--bind-addr", &format!("127.0.0.1:{port}")])
        .env("DATABASE_URL", database_url)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

/// Sends a request until it is answered for good: its status, and its body.
async fn persist(request: &reqwest::RequestBuilder, deadline: Instant) -> (u16, Vec<u8>) {
    loop {
        assert!(Instant::now() < deadline, "no answer in time");
        let sent = request.try_clone().unwrap().send().await;
        if let Ok(answer) = sent {
            let status = answer.status().as_u16();
            if let Ok(body) = answer.bytes().await
                && status != 503
            {
                return (status, body.to_vec());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each of 600 purchases is sent five times, by several clients at once, while the server is killed
/// and started again twice.
async fn purchases_through_two_deaths(database_url: &str) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut server = Some(serve(database_url, port, dir.path()));
    let origin = format!("http://127.0.0.1:{port}/api/v1");
    let deadline = Instant::now() + Duration::from_secs(120);
    let client = reqwest::Client::new();
    let product = json!({"name": "p", "price": "2.50", "stock": KEYS});
    let create = client.post(format!("{origin}/products")).json(&product);
    let (_, created) = persist(&create, deadline).await;
    let created: Value = serde_json::from_slice(&created).unwrap();
    let body = json!({"product_id": created["id"], "quantity": 1});

    let (next, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let client = reqwest::Client::new();
        let (next, answered) = (Arc::clone(&next), Arc::clone(&answered));
        let (url, body) = (format!("{origin}/orders/purchase"), body.clone());
        clients.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= KEYS * TIMES {
                    return answers;
                }
                // The five of a key come one after the other: they are under way at once.
                let key = number / TIMES;
                let request = client
                    .post(&url)
                    .header("idempotency-key", format!("k-{key}"));
                let answer = persist(&request.json(&body), deadline).await;
                answers.push((key, answer));
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for death in 1..=2 {
        while answered.load(Ordering::Relaxed) < death * KEYS * TIMES / 3 {
            assert!(Instant::now() < deadline, "too slow");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(server.take());
        server = Some(serve(database_url, port, dir.path()));
    }
    let mut by_key: HashMap<usize, Vec<(u16, Vec<u8>)>> = HashMap::new();
    for (key, answer) in clients.join_all().await.into_iter().flatten() {
        by_key.entry(key).or_default().push(answer);
    }
    drop(server);

    assert_eq!(by_key.len(), KEYS);
    let mut orders = HashSet::new();
    for (key, answers) in by_key {
        assert_eq!(answers.len(), TIMES);
        let (status, body) = &answers[0];
        assert_eq!(*status, 201, "{key}: {}", String::from_utf8_lossy(body));
        assert!(answers.iter().all(|answer| answer == &answers[0]), "{key}");
        let order: Value = serde_json::from_slice(body).unwrap();
        orders.insert(order["id"].to_string());
    }
    assert_eq!(orders.len(), KEYS);
    let store = store::connect(database_url).await.unwrap();
    assert_eq!(store.verify().await.unwrap(), [], "the books balance");
    let id = created["id"].as_str().unwrap().parse::<uuid::Uuid>();
    let left = store.product(id.unwrap().into()).await.unwrap().unwrap();
    assert_eq!(left.stock, 0, "each was sold once");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_sells_once_for_a_key_through_two_deaths() {
    purchases_through_two_deaths(&PostgresServer::shared().database().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_sells_once_for_a_key_through_two_deaths() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = shop::sqlite_url(dir.path());
    purchases_through_two_deaths(&url).await;
}
