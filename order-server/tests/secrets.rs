//! What the log tells of a request: who sent it, and never its key, whatever happens to it.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
};

use order_core::{OrderService, keys::KeyRequest};
use order_server::config::HttpLimits;
use tracing_subscriber::filter::LevelFilter;

use shop::{Shop, on_each_store};

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// The log of this process, at every level.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    log
});

async fn ask_in_every_way(shop: &Shop) -> String {
    let service = OrderService::builder(shop.store().await).build();
    let request = KeyRequest::new("key", "read".parse().unwrap()).unwrap();
    let (record, secret) = service.create_key(request).await.unwrap();
    let shown = format!("Bearer {}", secret.expose());
    tracing::info!(?record, ?secret, "made");
    for (method, path) in [
        ("GET", "/products"),
        ("POST", "/products"),
        ("GET", "/nowhere"),
        ("DELETE", "/orders"),
    ] {
        let answer = shop
            .send(method, path, &[("authorization", &shown)], None)
            .await;
        assert!(!format!("{answer:?}").contains(secret.expose()), "{path}");
    }
    secret.expose().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_not_logged_at_any_level() {
    let log = &*LOG;
    on_each_store(async |shop| {
        let key = ask_in_every_way(shop).await;
        let logged = log.text();
        assert!(logged.contains("Secret(redacted)"), "nothing was logged");
        assert!(!logged.contains(&key[3..]), "the key is in the log");
    })
    .await;
}

/// Behind a proxy that is trusted, the client is whom it names; nobody else may name one.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_client() {
    let log = &*LOG;
    for (proxies, path, client) in [
        (
            vec!["127.0.0.1/32".parse().unwrap()],
            "trusted",
            "192.0.2.7",
        ),
        (vec![], "untrusted", "127.0.0.1"),
    ] {
        let limits = HttpLimits {
            trusted_proxies: proxies,
            ..HttpLimits::default()
        };
        let (shop, _dir) = Shop::open_on_sqlite(limits).await;
        let headers = [("x-forwarded-for", "192.0.2.7")];
        shop.send("GET", &format!("/{path}"), &headers, None).await;
        shop.close().await;
        let (answered, logged) = (format!("path=\"/api/v1/{path}\""), log.text());
        let told = logged.lines().find(|line| line.contains(&answered));
        let told = told.unwrap_or_else(|| panic!("{path} is not in the log"));
        assert!(told.contains(&format!("client={client} ")), "{told}");
    }
}
