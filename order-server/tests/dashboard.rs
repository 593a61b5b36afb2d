//! The dashboard in a real browser, on a running server.
//!
//! Pictures of it are kept in `target/tmp`.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod browser;
mod program;
mod shop;

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use browser::{Browser, Tab};
use order_core::{
    keys::KeyRequest,
    process::{OrderProcessor, ProcessError, Task},
    testing::PostgresServer,
};
use order_server::config::HttpLimits;
use program::Program;
use serde_json::json;
use shop::{Shop, Staff};

const LIGHT: &str = "rgb(244, 246, 248)";
/// An order that nobody placed.
const UNKNOWN: &str = "01900000-0000-7000-8000-000000000000";
const DARK: &str = "rgb(16, 20, 26)";

/// Gives up every task as long as it is broken.
#[derive(Default)]
struct Mailer {
    is_broken: AtomicBool,
}

#[async_trait]
impl OrderProcessor for Mailer {
    async fn process(&self, _: &Task) -> Result<(), ProcessError> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(ProcessError::give_up(
                "the mail server knows no such address",
            ));
        }
        Ok(())
    }
}

async fn buy(shop: &Shop, product: &str, quantity: u32) -> String {
    let body = json!({"product_id": product, "quantity": quantity});
    let bought = shop.post("/orders/purchase", &body).await;
    assert_eq!(bought.status, 201, "{}", bought.body);
    bought.body["id"].as_str().unwrap().to_owned()
}

async fn order(shop: &Shop, product: &str, quantity: u32) -> String {
    let body = json!({"product_id": product, "quantity": quantity});
    let accepted = shop.post("/orders", &body).await;
    shop.decided(&accepted).await["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn link(id: &str) -> String {
    format!("#recent a[title='{id}']")
}

/// Opens a view by its address.
async fn go(tab: &Tab, hash: &str) {
    let address = format!("(location.hash = {}, true)", json!(hash));
    assert!(tab.value::<bool>(&address).await);
}

/// The counter of a state says so.
async fn counts(tab: &Tab, state: &str, count: u32) {
    let text = format!("document.querySelector('[data-count={state}]').textContent === '{count}'");
    tab.until(&text).await;
}

/// Both themes on a desk and on a phone: a picture of each, and nobody is kept out.
async fn looks_good_everywhere(tab: &Tab, name: &str) {
    for (theme, ground) in [("light", LIGHT), ("dark", DARK)] {
        tab.choose("#theme", theme).await;
        let painted: String = tab
            .value("getComputedStyle(document.body).backgroundColor")
            .await;
        assert_eq!(painted, ground, "{theme}");
        for (size, width) in [("wide", 1280), ("phone", 390)] {
            tab.size(width, 900).await;
            let needed: i64 = tab.value("document.documentElement.scrollWidth").await;
            assert!(needed <= width, "{needed} points wide on {width}");
            assert_eq!(
                tab.barriers().await,
                Vec::<String>::new(),
                "{name}, {theme}, {size}"
            );
            tab.picture(&format!("dashboard-{name}-{theme}-{size}"))
                .await;
        }
        tab.size(1280, 900).await;
    }
    tab.choose("#theme", "").await;
}

/// A page that has no layout of its own: light on a desk, and dark on a phone.
async fn looks_good(tab: &Tab, name: &str) {
    for (theme, width) in [("light", 1280), ("dark", 390)] {
        tab.choose("#theme", theme).await;
        tab.size(width, 900).await;
        let needed: i64 = tab.value("document.documentElement.scrollWidth").await;
        assert!(needed <= width, "{name}: {needed} points wide on {width}");
        assert_eq!(
            tab.barriers().await,
            Vec::<String>::new(),
            "{name}, {theme}"
        );
        tab.picture(&format!("dashboard-{name}-{theme}")).await;
    }
    tab.size(1280, 900).await;
    tab.choose("#theme", "").await;
}

/// Sells, and watches it on the page; follows an order; lets things fail and mends them.
#[tokio::test(flavor = "multi_thread")]
async fn a_shop_is_run_from_one_page() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let mailer = Arc::new(Mailer::default());
    let staff = Staff::hire(&shop, Arc::clone(&mailer) as _);
    let browser = Browser::start().await;
    let tab = browser.open(&format!("{}/", shop.origin)).await;
    tab.shows("#connection", "Live").await;
    tab.shows("[data-empty=recent]", "No orders here").await;
    assert_eq!(
        tab.barriers().await,
        Vec::<String>::new(),
        "of the empty page"
    );

    let flat: String = tab
        .value("document.querySelector('path.sold').getAttribute('d')")
        .await;
    let lamp = shop.product("Lamp", 60).await;
    for _ in 0..20 {
        buy(&shop, &lamp, 2).await;
    }
    let waited = order(&shop, &lamp, 3).await;
    let failed = order(&shop, &lamp, 90).await;
    counts(&tab, "completed", 21).await;
    counts(&tab, "failed", 1).await;
    counts(&tab, "accepted", 22).await;
    tab.until(&format!(
        "document.querySelector('path.sold').getAttribute('d') !== {}",
        json!(flat)
    ))
    .await;
    tab.shows("#hot td", "Lamp").await;
    tab.shows("#hot td", "17").await;
    tab.until("parseFloat(document.querySelector('[data-count=rate]').textContent) > 0")
        .await;
    tab.until("/Half waited up to [0-9]/.test(document.querySelector('#percentiles').textContent)")
        .await;
    tab.shows("#workers td", "alive").await;

    an_order_tells_its_story(&tab, &waited, &failed).await;
    what_was_given_up_is_redriven(&tab, &shop, &mailer, &lamp).await;
    a_topic_is_paused_and_resumed(&tab, &shop, &lamp).await;
    what_is_looked_for_is_found(&tab, &shop, &lamp).await;
    looks_good_everywhere(&tab, "busy").await;
    nothing_came_from_elsewhere(&tab, &shop);
    browser.close().await;
    staff.dismiss().await;
    shop.close().await;
}

async fn an_order_tells_its_story(tab: &Tab, waited: &str, failed: &str) {
    tab.click(&link(waited)).await;
    for told in ["Accepted", "Decided: sold", "Completed"] {
        tab.shows("#order-events .what", told).await;
    }
    tab.shows("#order-events .after", "+").await;
    tab.shows("#order-id", waited).await;
    tab.shows("#order-lines a", "Lamp").await;
    assert_eq!(tab.barriers().await, Vec::<String>::new(), "of an order");
    looks_good(tab, "order").await;
    go(tab, "#/").await;
    // By keyboard alone, and back again.
    let focus = format!("document.querySelector(\"{}\")", link(failed));
    tab.until(&format!("{focus} !== null && {focus}.checkVisibility()"))
        .await;
    tab.value::<bool>(&format!("({focus}.focus(), true)")).await;
    tab.press("Enter", 13).await;
    tab.shows("#order-events .what", "Decided: failed").await;
    tab.shows("#order-events .detail", "asks for 90 of Lamp")
        .await;
    tab.until("document.querySelector('#order-cancel').hidden")
        .await;
    // Nothing of an order stays under the error about another.
    go(tab, "#/orders").await;
    tab.enter("#find-id", UNKNOWN).await;
    tab.click("#find button").await;
    tab.shows("[data-problem=order]", "not found").await;
    tab.shows("#order-id", UNKNOWN).await;
    tab.until("!document.querySelector('#order-body').checkVisibility()")
        .await;
    go(tab, "#/orders?status=failed").await;
    tab.until("document.querySelectorAll('#orders tbody tr').length === 1")
        .await;
    tab.shows(&format!("#orders a[title='{failed}']"), "…")
        .await;
    looks_good(tab, "orders").await;
}

async fn what_was_given_up_is_redriven(tab: &Tab, shop: &Shop, mailer: &Mailer, product: &str) {
    go(tab, "#/dead").await;
    tab.shows("[data-empty=dead]", "nothing was given up").await;
    mailer.is_broken.store(true, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(buy(shop, product, 1).await);
    }
    let id = &ids[0];
    tab.shows("#dead td", "knows no such address").await;
    tab.shows("#dead-count", "3 dead letters with 1 reason")
        .await;
    looks_good(tab, "dead").await;
    tab.click(&format!("#dead a[title='{id}']")).await;
    tab.shows("#order-events .what", "Attempt 1 failed").await;
    tab.shows("#order-events .what", "given up").await;
    go(tab, "#/dead?reason=NO%20SUCH%20address").await;
    tab.shows("#dead-all", "Redrive the 3 matches").await;
    mailer.is_broken.store(false, Ordering::SeqCst);
    // Who thinks better of it changes nothing.
    let redrive = format!("tr[data-key='process {id}'] button");
    tab.click(&redrive).await;
    tab.click("#confirm [data-close]").await;
    tab.shows("#dead-count", "3 dead letters").await;
    tab.click(&redrive).await;
    tab.shows("#confirm[open]", "Redrive order").await;
    tab.click("#confirm-yes").await;
    tab.shows("#outcome", "on its way again").await;
    tab.shows("#dead-all", "Redrive the 2 matches").await;
    tab.click("#dead input").await;
    tab.shows("#dead-chosen", "Redrive 1 chosen").await;
    tab.click("#dead-all").await;
    tab.shows("#confirm[open]", "Redrive 2 orders?").await;
    tab.click("#confirm-yes").await;
    tab.shows("#outcome", "2 are on their way again").await;
    tab.shows("[data-empty=dead]", "nothing was given up").await;
    go(tab, "#/").await;
    counts(tab, "completed", 24).await;
}

/// A product is created, found, adjusted and repriced; an order of it, which no worker touches, is
/// cancelled.
async fn a_product_is_run_from_its_page(tab: &Tab, shop: &Shop) {
    go(tab, "#/products").await;
    tab.click("#product-create").await;
    for (field, text) in [
        ("name", "Grand piano"),
        ("price", "12345.50"),
        ("sku", "P-1"),
    ] {
        tab.enter(&format!("#form-{field}"), text).await;
    }
    assert_eq!(tab.barriers().await, Vec::<String>::new(), "of the form");
    tab.click("#form-yes").await;
    tab.shows("#product-title", "Grand piano").await;
    tab.shows("#product-facts dd", "12,345.50 USD").await;
    tab.shows("#product-facts dd", "sold out").await;
    tab.click("#product-adjust").await;
    tab.enter("#form-delta", "1500").await;
    tab.enter("#form-reason", "delivery").await;
    tab.press("Enter", 13).await;
    tab.shows("#product-facts dd", "1,500").await;
    tab.shows("#product-changes td", "stock 0 → 1,500, “delivery”")
        .await;
    tab.click("#product-price").await;
    tab.until("document.querySelector('#form-price').value === '12345.50'")
        .await;
    tab.value::<bool>("(document.querySelector('#form-price').value = '', true)")
        .await;
    tab.enter("#form-price", "9").await;
    tab.press("Enter", 13).await;
    tab.shows("#product-facts dd", "9.00 USD").await;
    let id: String = tab.value("location.hash.split('/').pop()").await;
    let order = buy(shop, &id, 4).await;
    tab.shows("#product-orders td", "36.00 USD").await;
    tab.until("/In stock 1,496/.test(document.querySelector('#product-stocks').textContent)")
        .await;
    let terms = json!({
        "limit_per_customer": 1_200, "on_sale_from": "2020-06-01T12:00:00Z", "on_sale_until": "2031-06-01T12:00:00Z",
    });
    let path = format!("/products/{id}");
    let any = [("If-Match", "*")];
    assert_eq!(
        shop.send("PATCH", &path, &any, Some(&terms)).await.status,
        200
    );
    tab.shows(
        "#product-changes td",
        "limit per customer – → 1,200, on sale from – → ",
    )
    .await;
    tab.until("/on sale until – → .*2031/.test(document.querySelector('#product-changes td .reason, #product-changes td.reason').textContent)")
        .await;
    tab.shows("#product-facts dd", "1,200").await;
    looks_good(tab, "product").await;
    go(tab, &format!("#/orders/{order}")).await;
    tab.shows("#order-lines a", "Grand piano").await;
    tab.click("#order-cancel").await;
    tab.shows("#confirm[open]", "Its stock goes back").await;
    tab.click("#confirm-yes").await;
    tab.shows("#order-events .what", "Cancelled").await;
    tab.until("document.querySelector('#order-cancel').hidden")
        .await;
    go(tab, "#/products?search=grand").await;
    tab.until("document.querySelectorAll('#products tbody tr').length === 1")
        .await;
    tab.shows("#products td", "1,500").await;
    looks_good(tab, "products").await;
}

async fn a_topic_is_paused_and_resumed(tab: &Tab, shop: &Shop, product: &str) {
    let toggle = "tr[data-key=process] button";
    tab.click(toggle).await;
    tab.shows("#confirm[open]", "Pause process?").await;
    tab.click("#confirm-yes").await;
    tab.shows("tr[data-key=process] .state", "paused").await;
    // In force everywhere within two seconds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    buy(shop, product, 1).await;
    counts(tab, "success", 1).await;
    tab.shows("tr[data-key=process] td.number", "1").await;
    tab.shows(toggle, "Resume").await;
    a_product_is_run_from_its_page(tab, shop).await;
    go(tab, "#/").await;
    tab.click(toggle).await;
    tab.shows("tr[data-key=process] .state", "running").await;
    counts(tab, "completed", 25).await;
    counts(tab, "success", 0).await;
}

/// Orders are found by what is known of them, page by page; tasks by state, and plots by range.
async fn what_is_looked_for_is_found(tab: &Tab, shop: &Shop, product: &str) {
    let known =
        json!({"product_id": product, "quantity": 1, "customer": "ada", "reference": "c 7"});
    let bought = shop.post("/orders/purchase", &known).await;
    let id = bought.body["id"].as_str().unwrap();
    let are_shown = "document.querySelectorAll('#orders tbody tr').length";
    go(tab, "#/orders").await;
    tab.until(&format!("{are_shown} === 25")).await;
    tab.click("#orders-next").await;
    tab.until(&format!("{are_shown} > 0 && {are_shown} < 25"))
        .await;
    tab.click("#orders-first").await;
    tab.until(&format!("{are_shown} === 25")).await;
    tab.value::<bool>("(document.querySelector('#find-id').value = '', true)")
        .await;
    tab.enter("#find-id", "c 7").await;
    tab.click("#find button").await;
    tab.until(&format!("{are_shown} === 1")).await;
    go(tab, "#/orders?from=2999-01-01").await;
    tab.shows("[data-empty=orders]", "No orders here").await;
    go(tab, "#/orders").await;
    tab.until(&format!("{are_shown} === 25")).await;
    tab.enter("#orders-filter [name=customer]", "ada").await;
    tab.click("#orders-filter button").await;
    tab.until(&format!("{are_shown} === 1")).await;
    tab.click(&format!("#orders a[title='{id}']")).await;
    tab.shows("#order-facts dd", "ada").await;
    tab.shows("#order-events .what", "Completed").await;
    tab.click("#order-process").await;
    tab.shows("#confirm[open]", "Process order").await;
    tab.click("#confirm-yes").await;
    tab.shows("#outcome", "is on the queue").await;
    go(tab, "#/tasks?state=scheduled").await;
    tab.shows("#tasks-said", "Sold a moment ago").await;
    looks_good(tab, "tasks").await;
    go(tab, "#/").await;
    tab.choose("#range", "24h").await;
    while !tab
        .requests()
        .iter()
        .any(|url| url.ends_with("history?range=24h"))
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tab.choose("#range", "5m").await;
    counts(tab, "completed", 26).await;
}

fn nothing_came_from_elsewhere(tab: &Tab, shop: &Shop) {
    let requests = tab.requests();
    assert!(requests.len() > 10, "{requests:?}");
    for url in &requests {
        // The browser draws some of its controls itself.
        let is_here = url.starts_with(&shop.origin) || url.starts_with("data:");
        assert!(is_here, "{url}");
    }
    let mut troubles = tab.troubles();
    troubles.retain(|trouble| !trouble.contains(UNKNOWN));
    assert_eq!(troubles, Vec::<String>::new());
}

async fn key(shop: &Shop, scopes: &str) -> String {
    let request = KeyRequest::new(scopes, scopes.parse().unwrap()).unwrap();
    let (_, secret) = shop.service.create_key(request).await.unwrap();
    secret.expose().to_owned()
}

/// Waits until the server knows a key, which takes it up to five seconds.
async fn in_force(shop: &Shop, key: &str) {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let start = Instant::now();
    // As long as the server is open, it takes anything.
    while shop.get("/access").await.status != 401
        || shop.send("GET", "/access", &headers, None).await.status != 200
    {
        assert!(start.elapsed() < Duration::from_secs(10), "not in force");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks for a key, shows what it allows, and forgets it with the tab.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_it_allows() {
    let shop = Shop::open(&PostgresServer::shared().database().await).await;
    let lamp = shop.product("Lamp", 5).await;
    buy(&shop, &lamp, 1).await;
    let (reader, admin) = (key(&shop, "read").await, key(&shop, "admin").await);
    for key in [&reader, &admin] {
        in_force(&shop, key).await;
    }
    let browser = Browser::start().await;
    let tab = browser.open(&format!("{}/dashboard", shop.origin)).await;
    tab.shows("#key[open]", "asks for a key").await;
    assert_eq!(
        tab.barriers().await,
        Vec::<String>::new(),
        "of the question"
    );
    tab.enter("#key-input", "nonsense").await;
    tab.press("Enter", 13).await;
    tab.shows("#key-problem", "not in force").await;

    tab.enter("#key-input", &reader).await;
    tab.press("Enter", 13).await;
    counts(&tab, "success", 1).await;
    tab.shows(
        "[data-needs=operate]",
        "a key with the scope operate is needed",
    )
    .await;
    tab.until("document.querySelectorAll('#queues tbody tr').length === 2")
        .await;
    let offered: u32 = tab
        .value("document.querySelectorAll('#queues button').length")
        .await;
    assert_eq!(offered, 0, "what a key may not do is not offered");
    assert_eq!(
        tab.barriers().await,
        Vec::<String>::new(),
        "of who may look"
    );
    let kept: bool = tab
        .value(&format!(
            "JSON.stringify({{...sessionStorage}}).includes({0}) && \
             !JSON.stringify({{...localStorage}}).includes({0}) && document.cookie === ''",
            json!(reader)
        ))
        .await;
    assert!(kept, "in this tab, and nowhere else");

    tab.click("#forget").await;
    tab.shows("#key[open]", "asks for a key").await;
    tab.enter("#key-input", &admin).await;
    tab.press("Enter", 13).await;
    tab.until("document.querySelectorAll('#queues button:enabled').length === 2")
        .await;
    tab.until("document.querySelector('[data-needs=operate]').hidden")
        .await;
    let urls = tab.requests().join(" ");
    assert!(
        !urls.contains(&reader) && !urls.contains(&admin),
        "no key is in an address"
    );
    browser.close().await;
    shop.close().await;
}

/// Fills in nothing, and sends what the page of the documentation offers: the status of the answer.
async fn tried(tab: &Tab, tag: &str, operation: &str) -> String {
    let block = format!("#operations-{tag}-{operation}");
    tab.click(&format!("{block} .opblock-summary-control"))
        .await;
    tab.click(&format!("{block} .try-out__btn")).await;
    tab.click(&format!("{block} .execute")).await;
    let status = format!("{block} .live-responses-table .response .response-col_status");
    tab.until(&format!("document.querySelector('{status}') !== null"))
        .await;
    let found = serde_json::json!(status);
    let told = format!("document.querySelector({found}).textContent.trim().slice(0, 3)");
    let told = tab.value(&told).await;
    // The page draws all that is open again and again.
    tab.click(&format!("{block} .opblock-summary-control"))
        .await;
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_is_tried_as_it_opens() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("{}/docs", shop.origin)).await;
    let document = include_str!("../../docs/openapi.json");
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let mut tries = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let status = match id {
                "createProduct" => "201",
                // What is named by the id of an example is not there.
                "acceptOrder" | "purchase" => "404",
                _ if method != "get" => continue,
                _ if path.contains("{id}") => "404",
                _ => "200",
            };
            let tag = operation["tags"][0].as_str().unwrap();
            assert_eq!(tried(&tab, tag, id).await, status, "{id}");
            tries += 1;
        }
    }
    assert!(tries > 20, "{tries}");
    browser.close().await;
    shop.close().await;
}

/// Follows the system unless told otherwise, and says so when nobody answers.
#[tokio::test(flavor = "multi_thread")]
async fn it_follows_the_system_and_tells_when_nobody_answers() {
    let (shop, _dir) = Shop::open_on_sqlite(HttpLimits::default()).await;
    let browser = Browser::start().await;
    let tab = browser.open(&format!("{}/dashboard", shop.origin)).await;
    tab.shows("#connection", "Live").await;
    for (scheme, ground) in [("dark", DARK), ("light", LIGHT)] {
        tab.system_prefers(scheme).await;
        let painted = "getComputedStyle(document.body).backgroundColor";
        tab.until(&format!("{painted} === '{ground}'")).await;
    }
    looks_good_everywhere(&tab, "empty").await;
    nothing_came_from_elsewhere(&tab, &shop);
    shop.close().await;
    tab.shows("#connection", "Not connected").await;
    tab.until("document.querySelector('#retry').checkVisibility()")
        .await;
    browser.close().await;
}

/// Stops a process where it stands, or lets it go on.
fn signal(program: &Program, name: &str) {
    let pid = program.process.0.id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.unwrap().success());
}

/// Prices have the decimals of the currency that the server sells in, and its name.
#[tokio::test(flavor = "multi_thread")]
async fn prices_are_shown_in_the_currency_of_the_shop() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_order-server"));
    server.env("CURRENCY", "KWD");
    let program = Program::start_by(server, dir.path()).await;
    let lamp = json!({"name": "Lamp", "price": "1250.125", "stock": 3});
    let lamp = program.post("/products", &lamp).await.body;
    let browser = Browser::start().await;
    let page = program.origin.replace("/api/v1", "/dashboard");
    let tab = browser.open(&page).await;
    go(
        &tab,
        &format!("#/products/{}", lamp["id"].as_str().unwrap()),
    )
    .await;
    tab.shows("#product-facts dd", "1,250.125 KWD").await;
    browser.close().await;
}

/// A server that takes connections and answers nobody is not live.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_told_within_five_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path()).await;
    let browser = Browser::start().await;
    let page = program.origin.replace("/api/v1", "/dashboard");
    let tab = browser.open(&page).await;
    tab.shows("#connection", "Live").await;
    signal(&program, "-STOP");
    let start = Instant::now();
    tab.shows("#connection", "Not connected").await;
    let took = start.elapsed();
    signal(&program, "-CONT");
    assert!(took < Duration::from_secs(5), "{took:?}");
    tab.shows("#connection", "Live").await;
    browser.close().await;
}
