//! A key is in no log, whatever happens to the request that shows it.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use std::{
    io,
    sync::{Arc, Mutex},
};

use order_core::{OrderService, keys::KeyRequest};
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
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    on_each_store(async |shop| {
        let key = ask_in_every_way(shop).await;
        let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
        assert!(logged.contains("Secret(redacted)"), "nothing was logged");
        assert!(!logged.contains(&key[3..]), "the key is in the log");
    })
    .await;
}
