//! Keys: what each scope allows, and when that begins and ends.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
    time::{Duration, Instant},
};

use order_core::{
    OrderService,
    domain::KeyId,
    keys::{KeyRequest, Secret},
    store,
    testing::Process,
};
use order_server::config::HttpLimits;
use serde_json::{Value, json};

use crate::shop::{self, Answer, Shop, on_each_store};

/// How soon a change of the keys has to be in force.
const SOON: Duration = Duration::from_secs(5);
const SCOPES: [&str; 6] = ["read", "orders", "products", "metrics", "operate", "admin"];
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// The operations on one order.
const ON_AN_ORDER: [(&str, &str); 6] = [
    ("GET", ""),
    ("GET", "/status"),
    ("POST", "/confirm"),
    ("POST", "/extend"),
    ("POST", "/cancel"),
    ("GET", "/events"),
];

/// A key with these scopes, as an operator makes it: its id, and its text.
async fn key(database_url: &str, scopes: &str) -> (KeyId, String) {
    let service = OrderService::builder(store::connect(database_url).await.unwrap()).build();
    let request = KeyRequest::new(scopes, scopes.parse().unwrap()).unwrap();
    let (key, secret) = service.create_key(request).await.unwrap();
    (key.id, secret.expose().to_owned())
}

/// Sends a request with what is shown as a key.
async fn send(shop: &Shop, method: &str, path: &str, shown: Option<&str>) -> Answer {
    let method = method.to_uppercase().parse().unwrap();
    let mut request = shop
        .client
        .request(method, format!("{}{path}", shop.origin))
        .json(&json!({}));
    if let Some(shown) = shown {
        request = request.bearer_auth(shown);
    }
    Answer::of(request.send().await.unwrap()).await
}

/// Waits until a request with this key is answered with `status`; how long that took.
async fn until(shop: &Shop, shown: Option<&str>, status: u16) -> Duration {
    let start = Instant::now();
    loop {
        let answer = send(shop, "GET", "/api/v1/products", shown).await;
        if answer.status == status {
            return start.elapsed();
        }
        assert!(start.elapsed() < SOON, "{} after {SOON:?}", answer.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The scopes of which an operation needs one; none, when it needs no key at all. Whatever is
/// not named here is for operators.
fn needed(method: &str, path: &str) -> &'static [&'static str] {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let first = path.split('/').nth(1).unwrap_or_default();
    match (first, method) {
        ("health", _) => &[],
        ("access", _) => &SCOPES,
        ("stats", _) => &["read", "operate", "admin"],
        _ if path.ends_with("/process") => &["operate", "admin"],
        ("queue" | "workers", "get") => &["read", "operate", "admin"],
        _ if path.ends_with("/attempts") => &["read", "operate", "admin"],
        ("products", "get") => &["read", "products", "admin"],
        ("products", _) => &["products", "admin"],
        ("orders", "get") => &["read", "orders", "admin"],
        ("orders", _) => &["orders", "admin"],
        ("metrics", _) => &["read", "metrics", "admin"],
        _ => &["operate", "admin"],
    }
}

/// Every operation of the document, with what it says about security.
async fn operations(shop: &Shop) -> Vec<(String, String, Value)> {
    let document = send(shop, "GET", "/openapi.json", None).await.body;
    let scheme = &document["components"]["securitySchemes"]["ApiKey"];
    assert_eq!(
        (&scheme["type"], &scheme["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let security = operation.get("security").cloned();
                operations.push((
                    method.to_owned(),
                    path.clone(),
                    security.unwrap_or_default(),
                ));
            }
        }
    }
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_allows_what_it_names_and_nothing_else() {
    on_each_store(async |shop| {
        let mut keys = Vec::new();
        for scope in SCOPES {
            keys.push((scope, key(&shop.database_url, scope).await.1));
        }
        until(shop, None, 401).await;
        until(shop, Some(&keys[5].1), 200).await;
        let mut operations = operations(shop).await;
        operations.push(("get".into(), "/metrics".into(), json!([{"ApiKey": []}])));
        assert!(operations.len() >= 17, "{operations:?}");
        for (method, path, security) in operations {
            let needed = needed(&method, &path);
            let told = format!("{method} {path} needs {needed:?}");
            let described = if needed.is_empty() {
                json!([])
            } else {
                json!([{"ApiKey": []}])
            };
            assert_eq!(security, described, "{told}");
            let path = path.split('/').map(|part| match part.strip_prefix('{') {
                Some(_) => "01900000-0000-7000-8000-000000000000",
                None => part,
            });
            let path = path.collect::<Vec<_>>().join("/");
            // Who may not call it is not told what is wrong with his call.
            let wrong = format!("{path}?skip=20");
            let ways = [&path, &wrong];
            for (path, (scope, key)) in ways
                .into_iter()
                .flat_map(|path| keys.iter().map(move |key| (path, key)))
            {
                let answer = send(shop, &method, path, Some(key)).await;
                if needed.is_empty() || needed.contains(scope) {
                    assert!(![401, 403].contains(&answer.status), "{told}, not {scope}");
                    // What is not described as an operation takes any query.
                    let is_described = !wrong.starts_with("/metrics");
                    let is_known = is_described && *path == wrong && answer.status != 422;
                    assert!(!is_known, "{told}: {}", answer.body);
                    continue;
                }
                assert_eq!(answer.status, 403, "{told}, not {scope}");
                answer.is_problem("forbidden");
                let detail = answer.body["detail"].as_str().unwrap();
                assert!(detail.contains(needed[0]), "{told}: {detail}");
            }
            let long = "x".repeat(46);
            let shown = [None, Some("nonsense"), Some(long.as_str())].into_iter();
            for (path, shown) in shown.flat_map(|shown| ways.map(|path| (path, shown))) {
                let answer = send(shop, &method, path, shown).await;
                if needed.is_empty() {
                    assert!(![401, 403].contains(&answer.status), "{told}");
                    continue;
                }
                assert_eq!(answer.status, 401, "{told}");
                answer.is_problem("unauthorized");
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_health_need_no_key() {
    on_each_store(async |shop| {
        key(&shop.database_url, "read").await;
        until(shop, None, 401).await;
        for path in [
            "/",
            "/docs",
            "/redoc",
            "/openapi.json",
            "/health",
            "/health/ready",
            "/health/cache/stats",
        ] {
            let answer = send(shop, "GET", path, None).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        assert_eq!(send(shop, "GET", "/nowhere", None).await.status, 404);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_closes_and_a_revoked_one_is_refused_soon() {
    on_each_store(async |shop| {
        assert_eq!(
            send(shop, "GET", "/api/v1/products", None).await.status,
            200
        );
        let (lost, lost_key) = key(&shop.database_url, "read").await;
        until(shop, None, 401).await;
        until(shop, Some(&lost_key), 200).await;
        let store = shop.store().await;
        let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let keys = store.key_store().unwrap();
        keys.revoke_key(lost, at).await.unwrap().unwrap();
        until(shop, Some(&lost_key), 401).await;
        // The last key is gone, and that opens nothing.
        assert_eq!(
            send(shop, "GET", "/api/v1/products", None).await.status,
            401
        );
        let (_, new_key) = key(&shop.database_url, "read").await;
        until(shop, Some(&new_key), 200).await;
    })
    .await;
}

/// A key for the client with this name.
async fn key_of(service: &OrderService, client: &str, scopes: &str) -> String {
    let request = KeyRequest::new(client, scopes.parse().unwrap()).unwrap();
    service.create_key(request).await.unwrap().1.expose().into()
}

/// Calls an operation with a key.
async fn call(shop: &Shop, method: &str, path: &str, key: &str, body: Option<&Value>) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    shop.send(method, path, &headers, body).await
}

/// What an operation on an order takes, if anything.
fn body_of(what: &str) -> Option<&'static Value> {
    static LONGER: LazyLock<Value> = LazyLock::new(|| json!({"hold_seconds": 60}));
    (what == "/extend").then(|| &*LONGER)
}

/// The scope `orders` reaches the orders of its own client, however they are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_sees_and_cancels_its_own_orders() {
    on_each_store(async |shop| {
        let product = shop.product("p", 10).await;
        let order = json!({"product_id": product, "quantity": 1});
        let open = shop.post("/orders/purchase", &order).await.body;
        assert_eq!(open["client"], Value::Null);
        let service = OrderService::builder(shop.store().await).build();
        let till = key_of(&service, "till", "orders").await;
        let web = key_of(&service, "web", "orders").await;
        let reader = key_of(&service, "till", "orders read").await;
        let admin = key_of(&service, "boss", "admin").await;
        until_orders(shop, &admin).await;
        let call = async |method: &str, path: &str, shown: &str, body: Option<&Value>| {
            call(shop, method, path, shown, body).await
        };
        let access = call("GET", "/access", &till, None).await;
        let client = access.body["client"].as_str().unwrap().to_owned();
        let bought = call("POST", "/orders/purchase", &till, Some(&order)).await;
        let accepted = call("POST", "/orders", &till, Some(&order)).await;
        let many = json!({"orders": [order]});
        let many = call("POST", "/orders/bulk", &till, Some(&many)).await;
        let mut own = vec![many.body["results"][0]["order_id"].clone()];
        for placed in [accepted, bought] {
            assert_eq!(placed.body["client"], client.as_str());
            own.push(placed.body["id"].clone());
        }
        let [id, open] = [&own[2], &open["id"]].map(|id| id.as_str().unwrap());
        for (shown, of, sees, cancels) in [
            (&till, id, true, true),
            (&till, open, false, false),
            (&web, id, false, false),
            (&reader, id, true, true),
            (&admin, open, true, true),
            (&reader, open, true, false),
            (&admin, id, true, true),
        ] {
            for (method, what) in ON_AN_ORDER {
                let may = if method == "GET" { sees } else { cancels };
                let path = format!("/orders/{of}{what}");
                let answer = call(method, &path, shown, body_of(what)).await;
                if may {
                    // A worker may have completed what is cancelled.
                    let done = answer.status == 200 || (method, answer.status) == ("POST", 409);
                    assert!(done, "{method} {what} {sees} {cancels}: {}", answer.status);
                } else {
                    assert_eq!(answer.status, 404, "{method} {what} {sees} {cancels}");
                    answer.is_problem("order_not_found");
                }
            }
        }
        for (shown, query, count) in [
            (&till, "?page=1".to_owned(), 3),
            (&till, format!("?page=1&client={client}"), 3),
            (&web, "?page=1".to_owned(), 0),
            (&web, format!("?page=1&client={client}"), 0),
            (&reader, "?page=1".to_owned(), 4),
            (&admin, "?page=1".to_owned(), 4),
            (&admin, format!("?page=1&client={client}"), 3),
        ] {
            let list = call("GET", &format!("/orders{query}"), shown, None).await;
            assert_eq!(list.body["total"], count, "{query}");
            let mut items = list.body["items"].as_array().unwrap().iter();
            assert_eq!(items.len(), count);
            assert!(count != 3 || items.all(|order| own.contains(&order["id"])));
        }
    })
    .await;
}

/// Waits until the server asks for keys and knows this one.
async fn until_orders(shop: &Shop, shown: &str) {
    until(shop, None, 401).await;
    until(shop, Some(shown), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_is_told_so() {
    on_each_store(async |shop| {
        let service = OrderService::builder(shop.store().await).build();
        let lasting = key_of(&service, "lasting", "read").await;
        until_orders(shop, &lasting).await;
        let request = KeyRequest::new("short", "read".parse().unwrap()).unwrap();
        let over = chrono::DateTime::UNIX_EPOCH;
        let refused = service.create_key(request.clone().until(Some(over))).await;
        assert!(refused.unwrap_err().to_string().contains("future"));
        let client = service.client("lasting").await.unwrap();
        let secret = Secret::generate().unwrap();
        let expired = request.until(Some(over));
        let id = KeyId(uuid::Uuid::from_u128(1));
        let expired = expired.into_hashed_key(id, &client, &secret, over);
        let keys = shop.store().await.key_store().unwrap();
        keys.create_key(&expired).await.unwrap();
        let start = Instant::now();
        loop {
            let answer = send(shop, "GET", "/api/v1/products", Some(secret.expose())).await;
            answer.is_problem("unauthorized");
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, "Bearer".to_owned())
            );
            if answer.body["detail"].as_str().unwrap().contains("expired") {
                break;
            }
            assert!(start.elapsed() < SOON, "{}", answer.body);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until(shop, Some(&lasting), 200).await;
        let used = async || {
            let keys = service.keys().await.unwrap();
            keys.iter()
                .any(|key| key.name == "lasting" && key.last_used_at.is_some())
        };
        while !used().await {
            assert!(start.elapsed() < 2 * SOON, "its use is not written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheme_may_be_written_in_any_case() {
    on_each_store(async |shop| {
        let (_, key) = key(&shop.database_url, "read").await;
        // As long as the server is open, it takes anything.
        until(shop, None, 401).await;
        until(shop, Some(&key), 200).await;
        for (value, status) in [
            (format!("bearer {key}"), 200),
            (format!("BEARER  {key}"), 200),
            (format!("Basic {key}"), 401),
            (format!("Bearer{key}"), 401),
            (key.clone(), 401),
        ] {
            let headers = [("authorization", value.as_str())];
            let answer = shop.send("GET", "/products", &headers, None).await;
            assert_eq!(answer.status, status, "{value}");
            assert!(!answer.body.to_string().contains(&key), "{value}");
        }
    })
    .await;
}

/// Who follows an order with a key that is revoked hears no more of it.
#[tokio::test(flavor = "multi_thread")]
async fn events_end_with_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let url = shop::sqlite_url(dir.path());
    let shop = Shop::open_without_worker(&url, HttpLimits::default()).await;
    let id = shop.product("p", 1).await;
    let order = json!({"product_id": id, "quantity": 1});
    let order = shop.post("/orders", &order).await.body["id"].clone();
    let path = format!("/orders/{}/events", order.as_str().unwrap());
    let follow = async |shown: &str| {
        let request = shop.client.get(shop.url(&path)).bearer_auth(shown);
        let mut events = request.send().await.unwrap();
        assert_eq!(events.status(), 200);
        assert!(
            events
                .chunk()
                .await
                .unwrap()
                .unwrap()
                .starts_with(b"id: pending")
        );
        events
    };
    let mut anybody = follow("").await;
    let (kept, kept_key) = key(&url, "read").await;
    until(&shop, None, 401).await;
    let end = tokio::time::timeout(SOON, anybody.chunk()).await;
    assert_eq!(end.expect("the open stream goes on").unwrap(), None);
    let (lost, lost_key) = key(&url, "read").await;
    until(&shop, Some(&lost_key), 200).await;
    let (mut held, mut ending) = (follow(&kept_key).await, follow(&lost_key).await);
    let keys = shop.store().await.key_store().unwrap();
    let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    keys.revoke_key(lost, at).await.unwrap().unwrap();
    let end = tokio::time::timeout(SOON, ending.chunk()).await;
    assert_eq!(end.expect("the stream goes on").unwrap(), None);
    let next = tokio::time::timeout(Duration::from_millis(100), held.chunk()).await;
    assert!(next.is_err(), "{kept:?} is not revoked");
    shop.close().await;
}

fn server(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-server"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_remove("DATABASE_URL")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_a_server_does_not_listen_beyond_its_machine() {
    let dir = tempfile::tempdir().unwrap();
    let everywhere = ["--bind-addr", "0.0.0.0:0"];
    let refused = server(dir.path(), &everywhere).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("there are no API keys"), "{told}");

    let url = shop::sqlite_url(dir.path());
    let (_, key) = key(&url, "read").await;
    let mut process = Process(server(dir.path(), &everywhere).spawn().unwrap());
    let out = BufReader::new(process.0.stdout.take().unwrap());
    let first = out.lines().next().unwrap().unwrap();
    let (_, port) = first.trim_end_matches("/api/v1").rsplit_once(':').unwrap();
    let products = format!("http://127.0.0.1:{port}/api/v1/products");
    let client = reqwest::Client::new();
    let open = client.get(&products).send().await.unwrap();
    assert_eq!(open.status(), 401);
    let held = client.get(&products).bearer_auth(key).send().await.unwrap();
    assert_eq!(held.status(), 200);
}
