//! The dashboard as it is served: every file is in the binary, and none is sent twice.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{collections::BTreeSet, io::Read};

use crate::shop::Shop;
use order_server::config::HttpLimits;
use reqwest::{Response, redirect::Policy};

const FILES: [&str; 19] = [
    "dashboard.css",
    "icon.svg",
    "access.js",
    "act.js",
    "client.js",
    "dead.js",
    "dialogs.js",
    "fill.js",
    "format.js",
    "main.js",
    "order.js",
    "orders.js",
    "overview.js",
    "plot.js",
    "plots.js",
    "product.js",
    "products.js",
    "router.js",
    "tasks.js",
];

async fn get(shop: &Shop, path: &str, known: &str) -> Response {
    let client = reqwest::Client::builder().redirect(Policy::none()).build();
    let request = client.unwrap().get(format!("{}{path}", shop.origin));
    request.header("if-none-match", known).send().await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_leads_to_the_dashboard() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let root = get(&shop, "/", "").await;
    assert_eq!(root.status(), 307);
    assert_eq!(header(&root, "location"), "/dashboard");
    for path in ["/dashboard", "/dashboard/"] {
        let page = get(&shop, path, "").await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_has_it_is_not_sent_again() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let paths = FILES.map(|file| format!("/dashboard/{file}"));
    let mut tags = BTreeSet::new();
    for path in paths.iter().map(String::as_str).chain(["/dashboard"]) {
        let first = get(&shop, path, "").await;
        assert_eq!(first.status(), 200, "{path}");
        assert_eq!(header(&first, "cache-control"), "private, no-cache");
        let tag = header(&first, "etag");
        assert!(first.bytes().await.unwrap().len() > 100, "{path}");
        for (known, status) in [
            (tag.clone(), 304),
            (format!("\"other\", W/{tag}"), 304),
            ("\"other\"".to_owned(), 200),
        ] {
            let again = get(&shop, path, &known).await;
            assert_eq!(again.status(), status, "{path}, {known}");
            assert_eq!(header(&again, "etag"), tag);
        }
        assert!(tags.insert(tag), "{path} has the tag of another");
    }
    assert_eq!(get(&shop, "/dashboard/other.js", "").await.status(), 404);
    shop.close().await;
}

/// Nothing of the page names another place, and the policy would not let it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_no_other_origin() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let page = get(&shop, "/dashboard", "").await;
    let policy = header(&page, "content-security-policy");
    for directive in policy.split("; ") {
        let (_, sources) = directive.split_once(' ').unwrap();
        assert!(["'self'", "'none'"].contains(&sources), "{policy}");
    }
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    for path in FILES.map(|file| format!("/dashboard/{file}")) {
        let text = get(&shop, &path, "").await.text().await.unwrap();
        // What names a language is not loaded.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http"), "{path}");
        assert!(
            !text.contains("//cdn") && !text.contains("@import"),
            "{path}"
        );
    }
    let html = page.text().await.unwrap();
    assert!(!html.contains("http") && !html.contains("<style") && !html.contains(" style="));
    assert_eq!(html.matches("/dashboard/").count(), 3);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_compressed_for_whoever_takes_them_so() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    for path in ["/docs", "/redoc", "/openapi.json", "/dashboard"] {
        let plain = get(&shop, path, "").await;
        assert_eq!(header(&plain, "content-encoding"), "", "{path}");
        assert_eq!(header(&plain, "vary"), "accept-encoding", "{path}");
        let plain_tag = header(&plain, "etag");
        let plain = plain.bytes().await.unwrap();
        for (takes, is_gzip) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
        ] {
            let ask = async |known: &str| {
                let request = shop.client.get(format!("{}{path}", shop.origin));
                let request = request.header("accept-encoding", takes);
                request.header("if-none-match", known).send().await.unwrap()
            };
            let answer = ask("").await;
            let tag = header(&answer, "etag");
            assert_eq!(
                header(&answer, "content-encoding") == "gzip",
                is_gzip,
                "{takes}"
            );
            assert_eq!(tag != plain_tag, is_gzip, "each form has its tag");
            let mut body = answer.bytes().await.unwrap().to_vec();
            if is_gzip {
                assert!(
                    body.len() < plain.len() / 2,
                    "{path} is {} bytes",
                    body.len()
                );
                let mut whole = Vec::new();
                flate2::read::GzDecoder::new(&body[..])
                    .read_to_end(&mut whole)
                    .unwrap();
                body = whole;
            }
            assert!(body == plain, "{path} as {takes}");
            assert_eq!(ask(&tag).await.status(), 304, "{path}");
        }
    }
    let docs = get(&shop, "/docs", "").await.text().await.unwrap();
    assert!(docs.contains("name=\"viewport\""));
    shop.close().await;
}

/// Behind a proxy that publishes the server below a path, links lead there: by what the proxy says,
/// if it is trusted, or by the setting, whether the proxy takes the path off or not.
#[tokio::test(flavor = "multi_thread")]
async fn below_a_path_all_links_lead_there() {
    let by_proxy = HttpLimits {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..HttpLimits::default()
    };
    let by_setting = HttpLimits {
        public_url: Some("https://shop.example/sell".parse().unwrap()),
        ..HttpLimits::default()
    };
    for (limits, prefix, is_kept) in [
        (by_proxy, "/sell", false),
        (by_setting.clone(), "/sell", false),
        (by_setting, "/sell", true),
        (HttpLimits::default(), "", false),
    ] {
        let (shop, _dir) = Shop::open_on_sqlite(limits).await;
        let below = if is_kept { prefix } else { "" };
        let client = reqwest::Client::builder().redirect(Policy::none());
        let client = client.build().unwrap();
        let request = |method: &str, path: &str| {
            let url = format!("{}{below}{path}", shop.origin);
            let request = client.request(method.parse().unwrap(), url);
            request.header("x-forwarded-prefix", "/sell/")
        };
        let root = request("GET", "/").send().await.unwrap();
        assert_eq!(header(&root, "location"), format!("{prefix}/dashboard"));
        let product = serde_json::json!({"name": "p", "price": 1, "stock": 1});
        let created = request("POST", "/api/v1/products").json(&product);
        let created = created.send().await.unwrap();
        let location = header(&created, "location");
        let path = format!("{prefix}/api/v1/products/");
        assert!(location.starts_with(&path), "{location}");
        for (page, link) in [
            ("/dashboard", format!("src=\"{prefix}/dashboard/main.js\"")),
            ("/dashboard", format!("href=\"{prefix}/docs\"")),
        ] {
            let page = request("GET", page).send().await.unwrap();
            let page = page.text().await.unwrap();
            assert!(page.contains(&link), "{link}");
        }
        let document = request("GET", "/openapi.json").send().await.unwrap();
        let document: serde_json::Value = document.json().await.unwrap();
        let server = if prefix.is_empty() { "/" } else { prefix };
        assert_eq!(document["servers"][0]["url"], server);
        for page in ["/docs", "/redoc"] {
            let page = request("GET", page).send().await.unwrap();
            let page: String = page.text().await.unwrap().split_whitespace().collect();
            assert!(page.contains(&format!("\"url\":\"{server}\"")));
        }
        shop.close().await;
    }
}
