//! Too many requests are refused, each caller for itself.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use order_core::{OrderService, keys::KeyRequest, store};
use order_server::config::HttpLimits;
use serde_json::Value;

use crate::shop::{self, Answer, Shop};

const BURST: u32 = 4;

/// A server that takes one request a second, and a few at once.
async fn strict(database_url: &str) -> Shop {
    let limits = HttpLimits {
        rate_limit: 1,
        rate_limit_burst: NonZeroU32::new(BURST),
        ..HttpLimits::default()
    };
    Shop::open_with(database_url, None, limits).await
}

/// Asks until it is refused: how many were answered, and the refusal.
async fn exhaust(shop: &Shop, shown: &str) -> (u32, Answer) {
    let headers = [("authorization", shown)];
    for answered in 0..BURST * 10 {
        let answer = shop.send("GET", "/products", &headers, None).await;
        if answer.status == 429 {
            return (answered, answer);
        }
        let limit = answer.header("ratelimit");
        assert!(limit.starts_with("\"default\";r="), "{limit}");
        assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=4;w=4");
    }
    panic!("never refused");
}

fn is_refused_well(answer: &Answer) {
    answer.is_problem("rate_limited");
    let wait_secs: u32 = answer.header("retry-after").parse().unwrap();
    assert_eq!(wait_secs, 1);
    assert_eq!(answer.header("ratelimit"), "\"default\";r=0;t=1");
    assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=4;w=4");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_refused_and_served_again() {
    let dir = tempfile::tempdir().unwrap();
    let shop = strict(&shop::sqlite_url(dir.path())).await;
    let start = Instant::now();
    let (answered, refused) = exhaust(&shop, "").await;
    let refilled = u32::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!((BURST..=BURST + refilled).contains(&answered), "{answered}");
    is_refused_well(&refused);
    for path in ["/health", "/health/ready"] {
        let health = shop.get(path).await;
        assert_eq!(
            (health.status, health.header("ratelimit")),
            (200, "".into())
        );
    }
    // What is refused is not done, and costs nothing: the address is served again in time.
    let refused_at = Instant::now();
    loop {
        let answer = shop.get("/products").await;
        if answer.status == 200 {
            break;
        }
        assert!(
            refused_at.elapsed() < Duration::from_secs(3),
            "still refused"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_a_rate_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let url = shop::sqlite_url(dir.path());
    let store = store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let service = OrderService::builder(store).build();
    let mut shown = Vec::new();
    for name in ["one", "two"] {
        let request = KeyRequest::new(name, "read".parse().unwrap()).unwrap();
        let (_, secret) = service.create_key(request).await.unwrap();
        shown.push(format!("Bearer {}", secret.expose()));
    }
    let shop = strict(&url).await;
    for shown in &shown {
        let (answered, refused) = exhaust(&shop, shown).await;
        assert!(answered >= BURST, "{answered}");
        is_refused_well(&refused);
    }
    // Strangers are counted by their address, with which the keys have nothing to do.
    let stranger = shop.get("/products").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.header("ratelimit"), "\"default\";r=3;t=1");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nobody_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let shop = Shop::open(&shop::sqlite_url(dir.path())).await;
    for _ in 0..200 {
        let answer = shop.get("/products").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers.get("ratelimit"), None);
        assert_ne!(answer.body, Value::Null);
    }
    shop.close().await;
}

/// Whom a trusted proxy speaks for is counted, each for himself; anybody else may say what he wants.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_who_is_counted() {
    for (proxies, status) in [(vec!["127.0.0.1/32".parse().unwrap()], 200), (vec![], 429)] {
        let limits = HttpLimits {
            rate_limit: 1,
            trusted_proxies: proxies,
            ..HttpLimits::default()
        };
        let (shop, _dir) = Shop::open_on_sqlite(limits).await;
        let mut last = 0;
        // The first address of each is what the client may have written itself.
        for client in [
            "1.1.1.1, 192.0.2.1",
            "1.1.1.1, 192.0.2.2",
            "1.1.1.1, 192.0.2.3",
        ] {
            let headers = [("x-forwarded-for", client)];
            last = shop.send("GET", "/products", &headers, None).await.status;
        }
        assert_eq!(last, status);
        let headers = [("x-forwarded-for", "192.0.2.9, 192.0.2.3")];
        let mut again = 0;
        for _ in 0..3 {
            again = shop.send("GET", "/products", &headers, None).await.status;
        }
        assert_eq!(again, 429);
        shop.close().await;
    }
}
