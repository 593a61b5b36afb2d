//! The committed description of the API is the one that the server gives.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod shop;

use serde_json::Value;
use shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_document_is_the_one_that_is_served() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = shop::sqlite_url(dir.path());
    let shop = Shop::open(&url).await;
    let served = shop.client.get(format!("{}/openapi.json", shop.origin));
    let served: Value = served.send().await.unwrap().json().await.unwrap();
    let written = order_server::runtime::openapi_document().await.unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(served, written, "order-cli writes what the server gives");
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let committed = std::fs::read_to_string(committed).unwrap();
    let committed: Value = serde_json::from_str(&committed).unwrap();
    assert!(
        served == committed,
        "the API changed: cargo run -p order-cli -- openapi > docs/openapi.json"
    );
    shop.close().await;
}
