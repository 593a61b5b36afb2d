//! Many orders in one request, each judged by itself, and the room that bodies have.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use order_core::{
    OrderService,
    keys::{KeyRequest, Scope},
    store,
};
use order_server::config::HttpLimits;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::shop::{Answer, Shop, on_each_store, sqlite_url};

#[tokio::test(flavor = "multi_thread")]
async fn good_orders_stand_beside_bad_ones() {
    on_each_store(async |shop| {
        let id = shop.product("p", 2_500).await;
        let mut orders = vec![json!({"product_id": id, "quantity": 1}); 3_000];
        let nobody = "01900000-0000-7000-8000-000000000000";
        for (at, bad) in [
            (0, json!({"product_id": id, "quantity": 0})),
            (7, json!({"product_id": id, "quantity": 1, "price": 1})),
            (999, json!("x")),
            (1_000, json!({"product_id": nobody, "quantity": 1})),
            (2_999, json!({"lines": []})),
        ] {
            orders[at] = bad;
        }
        let answer = shop.post("/orders/bulk", &json!({"orders": orders})).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.body["accepted"], 2_995);
        assert_eq!(answer.body["rejected"], 5);
        let results = answer.body["results"].as_array().unwrap();
        assert_eq!(results.len(), 3_000);
        for (at, status, field) in [
            (0, 422, json!("quantity")),
            (7, 422, json!("price")),
            (999, 422, json!("body")),
            (1_000, 404, Value::Null),
            (2_999, 422, json!("lines")),
        ] {
            assert_eq!(results[at]["index"], at);
            assert_eq!(results[at]["error"]["status"], status, "{}", results[at]);
            assert_eq!(results[at]["error"]["field"], field, "{}", results[at]);
            assert_eq!(results[at]["order_id"], Value::Null);
        }
        let mut states = Vec::new();
        for at in (1..7).chain(2_990..2_999) {
            let order_id = results[at]["order_id"].as_str().unwrap();
            let order = shop.decided_order(order_id).await;
            states.push(order["status"].as_str().unwrap().to_owned());
        }
        // First come, first served: there are pieces for 2 500 of them.
        assert!(states[..6].iter().all(|state| state == "success"));
        assert!(states[6..].iter().all(|state| state == "failed"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_has_bounds() {
    on_each_store(async |shop| {
        let id = shop.product("p", 20_000).await;
        let one = json!({"product_id": id, "quantity": 1});
        let bulk = |orders: usize| json!({"orders": vec![one.clone(); orders]});
        for (body, status, field) in [
            (json!({"orders": []}), 422, json!("orders")),
            (bulk(10_001), 422, json!("orders")),
            (json!({}), 422, json!("orders")),
            (json!({"orders": 5}), 422, json!("orders")),
            (json!({"orders": [], "order": 1}), 422, json!("order")),
            (json!({"orders": ["x".repeat(8 << 20)]}), 413, Value::Null),
        ] {
            let refused = shop.post("/orders/bulk", &body).await;
            assert_eq!(refused.status, status, "{}", refused.body);
            assert_eq!(refused.header("content-type"), "application/problem+json");
            assert_eq!(refused.body["field"], field, "{}", refused.body);
        }
        let all = shop.post("/orders/bulk", &bulk(10_000)).await;
        assert_eq!(all.body["accepted"], 10_000);
    })
    .await;
}

const MIB: usize = 1 << 20;

/// A body on its way: what it says of its length, who sends it, and from where.
struct Stalling<'a> {
    path: &'a str,
    announced: usize,
    secret: &'a str,
    from: Ipv4Addr,
}

impl Stalling<'_> {
    /// Returns when the server waits for the body.
    async fn begin(&self, shop: &Shop) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.from, 0).into()).unwrap();
        let address = shop.origin.strip_prefix("http://").unwrap();
        let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let head = format!(
            "POST /api/v1/{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {}\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            self.path, self.secret, self.announced
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = [0; 25];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    /// Sends all but the last byte, unless the server refuses it.
    async fn send(&self, stream: &mut TcpStream) {
        let _ = stream.write_all(&vec![b' '; self.announced - 1]).await;
    }
}

/// Nobody gets more than half of the room for large bodies, which leaves room for small ones and
/// for other callers.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_refused_when_there_are_too_many() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let large = Stalling {
        path: "orders/bulk",
        announced: 8 * MIB,
        secret: "",
        from: Ipv4Addr::new(127, 0, 0, 2),
    };
    let greedy = reqwest::Client::builder().local_address(Some(large.from.into()));
    let greedy = greedy.build().unwrap();
    let id = shop.product("p", 1).await;
    let bulk = json!({"orders": [{"product_id": id, "quantity": 1}]});
    let one_more = async || {
        let request = greedy.post(shop.url("/orders/bulk")).json(&bulk);
        Answer::of(request.send().await.unwrap()).await
    };
    // Four of them fit.
    let (mut waiting, start) = (Vec::new(), Instant::now());
    let refused = loop {
        let mut stream = large.begin(&shop).await;
        large.send(&mut stream).await;
        waiting.push(stream);
        let refused = one_more().await;
        if refused.status != 202 {
            break refused;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "no budget");
    };
    assert!(waiting.len() >= 4, "{}", waiting.len());
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), "1");
    refused.is_problem("overloaded");
    let mut refused = large.begin(&shop).await;
    large.send(&mut refused).await;
    let mut answer = Vec::new();
    // A reset is a way to close, too.
    let _ = refused.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains(r#""code":"overloaded""#), "{answer}");
    assert_eq!(one_more().await.status, 503);
    shop.product("small", 1).await;
    assert_eq!(shop.post("/orders/bulk", &bulk).await.status, 202);
    drop(waiting);
    let start = Instant::now();
    while one_more().await.status != 202 {
        assert!(start.elapsed() < Duration::from_secs(5), "no room again");
    }
    shop.close().await;
}

/// A caller that announces more than there is room for, and sends nothing or almost all of it, keeps
/// no other caller out.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stalls_starves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let url = sqlite_url(dir.path());
    let store = store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let service = OrderService::builder(store).build();
    let key = async || {
        let request = KeyRequest::new("key", [Scope::Admin].into_iter().collect()).unwrap();
        service.create_key(request).await.unwrap().1
    };
    let (greedy, modest) = (key().await, key().await);
    let shop = Shop::open(&url).await;
    let authorization = format!("Bearer {}", modest.expose());
    let modest_can_write = async || {
        let headers = [("authorization", authorization.as_str())];
        let name = "x".repeat(200);
        let product = json!({"name": name, "price": 1, "stock": 1});
        let created = shop.send("POST", "/products", &headers, Some(&product));
        let created = created.await;
        assert_eq!(created.status, 201, "{}", created.body);
    };
    let stalling = Stalling {
        path: "orders",
        announced: MIB,
        secret: greedy.expose(),
        from: Ipv4Addr::LOCALHOST,
    };
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(stalling.begin(&shop).await);
    }
    modest_can_write().await;
    for stream in &mut streams {
        stalling.send(stream).await;
        modest_can_write().await;
    }
    // It holds half of the room, and no more: of its 64 bodies, 32 are refused.
    let refusals = streams.iter_mut().map(|stream| async {
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 503");
    });
    let refused = refusals.collect::<FuturesUnordered<_>>().take(32).count();
    let refused = timeout(Duration::from_secs(20), refused).await;
    assert_eq!(refused, Ok(32));
    shop.close().await;
}
