//! What browsers and other clients are told in headers.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use order_server::config::HttpLimits;
use serde_json::{Value, json};

use crate::shop::{Answer, Shop};

/// Sends a request to any path, and follows no redirect.
async fn send(shop: &Shop, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let url = format!("{}{path}", shop.origin);
    let mut request = client.request(method.parse().unwrap(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_browsers_to_be_careful() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let id = shop.product("p", 1).await;
    let product = format!("/api/v1/products/{id}");
    for (method, path, status, keep) in [
        ("GET", "/", 307, "no-store"),
        ("GET", "/docs", 200, "private, no-cache"),
        ("GET", "/redoc", 200, "private, no-cache"),
        ("GET", "/openapi.json", 200, "private, no-cache"),
        ("GET", "/health", 200, "no-store"),
        ("GET", "/api/v1/products", 200, "no-store"),
        ("GET", &product, 200, "private, no-cache"),
        ("GET", "/nowhere", 404, "no-store"),
        ("DELETE", "/api/v1/orders", 405, "no-store"),
        ("POST", "/api/v1/orders", 415, "no-store"),
        ("DELETE", &product, 204, "no-store"),
    ] {
        let answer = send(&shop, method, path, &[]).await;
        assert_eq!(answer.status, status, "{method} {path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", keep),
        ] {
            assert_eq!(answer.header(name), value, "{method} {path}: {name}");
        }
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_run_what_is_in_them_and_load_nothing() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    for path in ["/docs", "/redoc"] {
        let page = send(&shop, "GET", path, &[]).await;
        let policy = page.header("content-security-policy");
        let directives: Vec<&str> = policy.split("; ").collect();
        for directive in [
            "default-src 'none'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(directives.contains(&directive), "{path}: {policy}");
        }
        let scripts = directives
            .iter()
            .find_map(|directive| directive.strip_prefix("script-src "))
            .unwrap();
        let hashes: Vec<&str> = scripts.split(' ').collect();
        assert_eq!(hashes.len(), 2, "the library and its call: {scripts}");
        assert!(hashes.iter().all(|hash| hash.starts_with("'sha256-")));
        assert!(
            !policy.contains("http") && !policy.contains('*'),
            "{policy}"
        );
    }
    let data = send(&shop, "GET", "/openapi.json", &[]).await;
    assert_eq!(data.headers.get("content-security-policy"), None);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_answered_names_those_that_are() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let document = send(&shop, "GET", "/openapi.json", &[]).await.body;
    let mut refused = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        let mut answered: Vec<String> = methods.map(|method| method.to_uppercase()).collect();
        answered.sort_unstable();
        let path = path.replace("{id}", "01900000-0000-7000-8000-000000000000");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if answered.iter().any(|name| name == method) {
                continue;
            }
            let answer = send(&shop, method, &path, &[]).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            answer.is_problem("method_not_allowed");
            let allow = answer.header("allow");
            let mut allowed: Vec<&str> = allow.split(", ").collect();
            allowed.retain(|name| *name != "HEAD");
            assert_eq!(allowed, answered, "{method} {path}");
            assert_eq!(allow.contains("GET"), allow.contains("HEAD"), "{allow}");
            refused += 1;
        }
    }
    assert!(refused > 50, "only {refused} were tried");
    for path in ["/", "/docs", "/openapi.json", "/health", "/health/ready"] {
        let answer = send(&shop, "POST", path, &[]).await;
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("allow"), "GET, HEAD", "{path}");
        assert_ne!(send(&shop, "HEAD", path, &[]).await.status, 405, "{path}");
    }
    shop.close().await;
}

const FRIEND: &str = "https://shop.example";

fn friendly() -> HttpLimits {
    HttpLimits {
        cors_origins: vec![FRIEND.parse().unwrap()],
        ..HttpLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_let_in_by_name_only() {
    let (shop, _dir) = Shop::open_on_sqlite(friendly()).await;
    let asks = |origin: &'static str| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ]
    };
    let allowed = send(&shop, "OPTIONS", "/api/v1/orders", &asks(FRIEND)).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), FRIEND);
    let methods = allowed.header("access-control-allow-methods");
    assert!(methods.contains("POST"), "{methods}");
    let headers = allowed.header("access-control-allow-headers");
    assert!(headers.contains("authorization") && headers.contains("if-match"));
    assert!(headers.contains("traceparent"), "{headers}");
    assert_eq!(allowed.header("x-content-type-options"), "nosniff");

    let stranger = "https://shop.example.evil.example";
    let refused = send(&shop, "OPTIONS", "/api/v1/orders", &asks(stranger)).await;
    assert_eq!(refused.status, 405);
    for (origin, shown) in [(FRIEND, FRIEND), (stranger, ""), ("null", "")] {
        for (path, status) in [("/api/v1/products", 200), ("/nowhere", 404)] {
            let answer = send(&shop, "GET", path, &[("origin", origin)]).await;
            // It is the browser that keeps it from the page.
            assert_eq!(answer.status, status, "{origin}");
            let told = answer.header("access-control-allow-origin");
            assert_eq!(told, shown, "{origin}");
            let exposed = answer.header("access-control-expose-headers");
            for name in [
                "etag",
                "idempotent-replayed",
                "location",
                "ratelimit",
                "retry-after",
            ] {
                let is_exposed = exposed.split(", ").any(|known| known == name);
                assert_eq!(is_exposed, !shown.is_empty(), "{origin} {name}");
            }
            assert_eq!(answer.header("vary"), "origin");
            assert_eq!(answer.headers.get("access-control-allow-credentials"), None);
        }
    }
    // A page of this server names its origin, too.
    let own = shop.origin.clone();
    let product = json!({"name": "p", "price": 1, "stock": 1});
    let headers = [("origin", own.as_str())];
    let created = shop.send("POST", "/products", &headers, Some(&product));
    assert_eq!(created.await.status, 201);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unless_said_otherwise_no_other_origin_is_let_in() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let asks = [("origin", FRIEND), ("access-control-request-method", "GET")];
    let refused = send(&shop, "OPTIONS", "/api/v1/products", &asks).await;
    let read = send(&shop, "GET", "/api/v1/products", &asks).await;
    assert_eq!((refused.status, read.status), (405, 200));
    for answer in [refused, read] {
        let names = answer.headers.keys().map(|name| name.as_str().to_owned());
        let told: Vec<String> = names
            .filter(|name| name.starts_with("access-control"))
            .collect();
        assert_eq!(told, Vec::<String>::new());
        assert_ne!(answer.body, Value::Null);
    }
    shop.close().await;
}

/// Bodies that are JSON in UTF-8 are taken, whatever the headers say besides; others are refused
/// before anything is read into them.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_json_in_utf_8_as_they_are() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let text = r#"{"name":"Lämp","price":1,"stock":1}"#;
    let with_mark = format!("\u{feff}{text}");
    for (content_type, encoding, body, status) in [
        ("application/json; charset=UTF-8", "", text, 201),
        ("application/json;charset=\"utf-8\"", "identity", text, 201),
        ("Application/vnd.shop+JSON; v=1", "", text, 201),
        ("application/json", "", &with_mark, 201),
        ("application/json; charset=iso-8859-1", "", text, 415),
        ("application/json; v=1; Charset=utf-16", "", text, 415),
        ("application/json", "gzip", text, 415),
        ("application/json", "br", text, 415),
        ("text/plain", "", text, 415),
    ] {
        let mut request = shop.client.post(shop.url("/products"));
        request = request.header("content-type", content_type);
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        let answer = Answer::of(request.body(body.to_owned()).send().await.unwrap()).await;
        assert_eq!(
            answer.status, status,
            "{content_type} {encoding}: {}",
            answer.body
        );
        match status {
            201 => assert_eq!(answer.body["name"], "Lämp"),
            _ => answer.is_problem("unsupported_media_type"),
        }
        if !encoding.is_empty() && status == 415 {
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
    }
    shop.close().await;
}

/// The header is a string with quotes (draft-ietf-httpapi-idempotency-key-header), and many clients
/// send it without.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_quotes_is_the_key() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let order = json!({"product_id": shop.product("p", 9).await, "quantity": 1});
    let buy = async |key: &str| {
        let headers = [("idempotency-key", key)];
        shop.send("POST", "/orders/purchase", &headers, Some(&order))
            .await
    };
    let (bare, quoted) = (buy("k-1").await, buy("\"k-1\"").await);
    assert_eq!((bare.status, quoted.status), (201, 201));
    assert_eq!(bare.body["id"], quoted.body["id"]);
    assert_eq!(quoted.header("idempotent-replayed"), "true");
    for bad in ["\"\"", "\"", "\"a", "\"a\"b\"", "\"a\\\"\""] {
        let refused = buy(bad).await;
        assert_eq!(
            (refused.status, &refused.body["field"]),
            (422, &json!("Idempotency-Key")),
            "{bad}"
        );
    }
    shop.close().await;
}
