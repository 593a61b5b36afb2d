//! What the pages of strangers can do to a server on the machine of whoever looks at them: nothing.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod browser;
mod shop;

use browser::Browser;
use order_core::keys::KeyRequest;
use order_server::config::HttpLimits;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use shop::{Answer, Shop};

/// Sends a head as it stands, and gives the status and the `code` of the answer.
async fn ask(shop: &Shop, head: &str) -> (u16, Value) {
    let address = shop.origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    (status, body["code"].clone())
}

async fn called(shop: &Shop, host: &str) -> (u16, Value) {
    let head = format!("GET /api/v1/products HTTP/1.1\r\nhost: {host}\r\n");
    ask(shop, &head).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_server_answers_to_its_own_names_only() {
    let limits = HttpLimits {
        allowed_hosts: vec!["shop.internal".parse().unwrap()],
        ..HttpLimits::default()
    };
    let (shop, _dir) = Shop::open_on_sqlite(limits).await;
    let own = shop.origin.strip_prefix("http://").unwrap();
    for name in [own, "localhost:1", "[::1]:8000", "Shop.Internal:9"] {
        assert_eq!(called(&shop, name).await, (200, Value::Null), "{name}");
    }
    let misdirected = (421, json!("misdirected_request"));
    for name in [
        "evil.example",
        "evil.example:8000",
        "192.0.2.1",
        "localhost.evil.example",
    ] {
        assert_eq!(called(&shop, name).await, misdirected, "{name}");
    }
    // The whole target counts, and not what stands beside it; health and pages are no exception.
    let whole = "GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\n";
    assert_eq!(ask(&shop, whole).await, misdirected);
    for path in ["/health", "/dashboard", "/openapi.json", "/nowhere"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\n");
        assert_eq!(ask(&shop, &head).await, misdirected, "{path}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_once_what_it_calls_the_server() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let malformed = (400, json!("malformed"));
    for hosts in [
        "",
        "host:\r\n",
        "host: localhost\r\nhost: localhost\r\n",
        "host: a@localhost\r\n",
        "host: local host\r\n",
    ] {
        let head = format!("GET /api/v1/products HTTP/1.1\r\n{hosts}");
        assert_eq!(ask(&shop, &head).await, malformed, "{hosts:?}");
    }
    // A probe of a load balancer, older than `Host`.
    let (status, _) = ask(&shop, "GET /health HTTP/1.0\r\n").await;
    assert_eq!(status, 200);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_the_key_counts_and_not_the_name() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let request = KeyRequest::new("k", "read".parse().unwrap()).unwrap();
    shop.service.create_key(request).await.unwrap();
    let unauthorized = (401, json!("unauthorized"));
    for _ in 0..500 {
        if called(&shop, "shop.example").await == unauthorized {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(called(&shop, "shop.example").await, unauthorized);
    let health = "GET /health HTTP/1.1\r\nhost: shop.example\r\n";
    assert_eq!(ask(&shop, health).await.0, 200);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_requests_of_foreign_pages_are_refused() {
    const FRIEND: &str = "https://shop.example";
    let limits = HttpLimits {
        cors_origins: vec![FRIEND.parse().unwrap()],
        ..HttpLimits::default()
    };
    let (shop, _dir) = Shop::open_on_sqlite(limits).await;
    let own = shop.origin.clone();
    let buys = async |headers: &[(&str, &str)]| -> Answer {
        let product = json!({"name": "p", "price": 1, "stock": 1});
        shop.send("POST", "/products", headers, Some(&product))
            .await
    };
    for good in [
        &[][..],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", own.as_str())],
        &[("sec-fetch-site", "cross-site"), ("origin", FRIEND)],
    ] {
        assert_eq!(buys(good).await.status, 201, "{good:?}");
    }
    for bad in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://localhost:1")],
        &[("origin", FRIEND), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", own.as_str())],
        // A page that is same-origin with a name of its own making.
        &[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://evil.example"),
        ],
    ] {
        let refused = buys(bad).await;
        assert_eq!(refused.status, 403, "{bad:?}");
        refused.is_problem("foreign_origin");
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        let path = "/products/01900000-0000-7000-8000-000000000000";
        let origin = [("origin", "https://evil.example")];
        let refused = shop.send(method, path, &origin, None).await;
        assert_eq!(refused.status, 403, "{method}");
    }
    let (products, _) = shop.everything().await;
    assert_eq!(products["total"], 4);
    shop.close().await;
}

/// A page on another port that does what it can to the server at `target`, which needs no
/// preflight: scripts that do not see the answer, and a form.
fn serve_page(listener: TcpListener, target: &str) {
    const PAGE: &str = r#"<!doctype html><title>prize</title><iframe name="frame"></iframe>
        <script>
        const send = (path, type, body) => fetch("TARGET/api/v1" + path,
            {method: "POST", mode: "no-cors", headers: {"content-type": type}, body});
        const submit = (path) => new Promise((done) => {
            const form = document.createElement("form");
            Object.assign(form, {method: "post", action: "TARGET/api/v1" + path, target: "frame"});
            document.querySelector("iframe").onload = () => done(true);
            document.body.append(form);
            form.submit();
        });
        const attack = (order) => Promise.all([
            send("/queue/validate/pause", "text/plain", ""),
            send("/orders/" + order + "/cancel", "text/plain", ""),
            send("/products", "text/plain", '{"name": "x", "price": 1, "stock": 1}'),
        ]).then(() => submit("/queue/process/pause"));
        </script>"#;
    let page = PAGE.replace("TARGET", target);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{page}",
                page.len()
            );
            // By itself: a browser opens connections ahead, and says nothing on them.
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1 << 14]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
}

/// A place for a page, and its port.
async fn place() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Lets the page attack, and gives which topics are paused, and the state of an order.
async fn attacked(shop: &Shop, browser: &Browser, page: &str) -> (Vec<Value>, Value) {
    let product = shop.product("p", 5).await;
    let order = json!({"product_id": product, "quantity": 1});
    let bought = shop.post("/orders/purchase", &order).await.body;
    let id = bought["id"].as_str().unwrap();
    let tab = browser.open(page).await;
    assert!(tab.value::<bool>(&format!("attack({id:?})")).await);
    let queue = shop.get("/queue").await.body;
    let topics = queue["topics"].as_array().unwrap().iter();
    let paused = topics.map(|topic| topic["paused"].clone()).collect();
    let order = shop.get(&format!("/orders/{id}")).await.body;
    (paused, order["status"].clone())
}

/// In a real browser: a page of another site and one of another port, whose requests arrive and are
/// refused; the same page, where it is a named friend; and a name that leads to this machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_changes_nothing() {
    let browser = Browser::start_with(&["--host-resolver-rules=MAP evil.example 127.0.0.1"]).await;
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let (listener, port) = place().await;
    serve_page(listener, &shop.origin);
    let unchanged = (vec![json!(false), json!(false)], json!("success"));
    for page in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://evil.example:{port}/"),
    ] {
        assert_eq!(attacked(&shop, &browser, &page).await, unchanged, "{page}");
    }
    let own_port = shop.origin.rsplit(':').next().unwrap();
    let rebound = format!("http://evil.example:{own_port}/api/v1/products");
    let tab = browser.open(&rebound).await;
    tab.shows("body", "misdirected_request").await;
    let (products, _) = shop.everything().await;
    assert_eq!(products["total"], 3, "only those that the test made");
    shop.close().await;

    // The requests were refused for their origin: the page of a friend does all that.
    let (listener, port) = place().await;
    let friend = format!("http://localhost:{port}");
    let limits = HttpLimits {
        cors_origins: vec![friend.parse().unwrap()],
        ..HttpLimits::default()
    };
    let (shop, _dir) = Shop::open_on_sqlite(limits).await;
    serve_page(listener, &shop.origin);
    let changed = (vec![json!(true), json!(true)], json!("cancelled"));
    assert_eq!(attacked(&shop, &browser, &friend).await, changed);
    shop.close().await;
    browser.close().await;
}
