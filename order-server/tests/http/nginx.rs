//! Behind a real nginx that compresses answers: reading, changing and writing back.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::io::Read;

use flate2::read::GzDecoder;
use order_core::testing::Nginx;
use order_server::config::HttpLimits;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::shop::{Answer, Shop};

/// As it is usually set up; its default compresses pages only.
const PAGES: &str = "gzip on;";
const DATA: &str = "gzip on; gzip_types application/json application/problem+json;";

/// A client of the shop through nginx, which takes compressed answers, as browsers do.
struct Behind<'a> {
    shop: &'a Shop,
    nginx: Nginx,
}

impl<'a> Behind<'a> {
    fn new(shop: &'a Shop, settings: &str) -> Self {
        let (_, port) = shop.origin.rsplit_once(':').unwrap();
        Self {
            shop,
            nginx: Nginx::start(port.parse().unwrap(), settings),
        }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("http://127.0.0.1:{}/api/v1{path}", self.nginx.port());
        self.shop.client.request(method.parse().unwrap(), url)
    }

    /// An answer as the client gets it, unpacked, and whether it was compressed.
    async fn sent(&self, request: RequestBuilder) -> (Answer, bool) {
        let response: Response = request
            .header("accept-encoding", "gzip")
            .send()
            .await
            .unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let is_compressed = headers
            .get("content-encoding")
            .is_some_and(|encoding| encoding == "gzip");
        let mut text = String::new();
        if is_compressed {
            GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(bytes.to_vec()).unwrap();
        }
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer {
            status,
            headers,
            body,
        };
        (answer, is_compressed)
    }

    async fn read(&self, path: &str) -> (Answer, bool) {
        self.sent(self.request("GET", path)).await
    }

    async fn write(&self, method: &str, path: &str, tag: &str, body: Option<&Value>) -> Answer {
        let mut request = self.request(method, path).header("if-match", tag);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.sent(request).await.0
    }
}

/// What each operation with `If-Match` changes: a product or a held order, the method, what follows
/// its path, and the body.
fn operations() -> [(bool, &'static str, &'static str, Option<Value>); 7] {
    let product = json!({"name": "q", "price": 2});
    [
        (true, "PUT", "", Some(product)),
        (true, "PATCH", "", Some(json!({"stock": 7}))),
        (true, "POST", "/stock", Some(json!({"delta": 1}))),
        (true, "DELETE", "", None),
        (
            false,
            "POST",
            "/extend",
            Some(json!({"hold_seconds": 6_000})),
        ),
        (false, "POST", "/confirm", None),
        (false, "POST", "/cancel", None),
    ]
}

/// The path of a new product or of a new order that is held.
async fn made(shop: &Shop, is_product: bool) -> String {
    let product = shop.product("p", 50).await;
    if is_product {
        return format!("/products/{product}");
    }
    let buy = json!({"product_id": product, "quantity": 1, "hold_seconds": 600});
    let held = shop.post("/orders/purchase", &buy).await;
    format!("/orders/{}", held.body["id"].as_str().unwrap())
}

/// A tag that nginx leaves as it is leads to the change; one that it made weak is refused with what to
/// send, which does. Either way, whoever comes second is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_behind_nginx_is_written_back() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    for (settings, is_weak) in [(PAGES, false), (DATA, true)] {
        let behind = Behind::new(&shop, settings);
        for (is_product, method, below, body) in operations() {
            let path = made(&shop, is_product).await;
            let (target, told) = (
                format!("{path}{below}"),
                format!("{settings} {method} {below}"),
            );
            let (read, is_compressed) = behind.read(&path).await;
            assert_eq!((read.status, is_compressed), (200, is_weak), "{told}");
            let seen = read.header("etag");
            assert_eq!(seen.starts_with("W/"), is_weak, "{told}: {seen}");
            // What the client has is not sent again, weak or not.
            let again = behind.request("GET", &path).header("if-none-match", &seen);
            assert_eq!(behind.sent(again).await.0.status, 304, "{told}");
            if is_weak {
                let refused = behind.write(method, &target, &seen, body.as_ref()).await;
                refused.is_problem("version_mismatch");
                let reason = refused.body["detail"].as_str().unwrap();
                assert!(reason.contains("without W/"), "{told}: {reason}");
                assert_eq!(behind.read(&path).await.0.body, read.body, "{told}");
            }
            let strong = seen.trim_start_matches("W/");
            let written = behind.write(method, &target, strong, body.as_ref()).await;
            assert!(
                [200, 204].contains(&written.status),
                "{told}: {}",
                written.body
            );
            let late = behind.write(method, &target, strong, body.as_ref()).await;
            let gone = if method == "DELETE" { 404 } else { 412 };
            assert_eq!(late.status, gone, "{told}: {}", late.body);
        }
    }
    assert_eq!(shop.verify().await, []);
    shop.close().await;
}
