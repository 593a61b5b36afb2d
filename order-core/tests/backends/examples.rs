//! The examples do what they say.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.
#![allow(dead_code)] // Each example has a `main` of its own.

#[path = "../../examples/custom_processor.rs"]
mod custom_processor;
#[path = "../../examples/embed.rs"]
mod embed;
#[path = "../../examples/flash_sale.rs"]
mod flash_sale;
#[path = "../../examples/with_axum.rs"]
mod with_axum;

use tempfile::TempDir;
use tokio::net::TcpListener;

fn database() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    (dir, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn embed_sells_at_once_and_later() {
    let (_dir, url) = database();
    let decided = embed::sell(&url).await.unwrap();
    assert_eq!((decided.sold, decided.failed), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn flash_sale_sells_each_lamp_once() {
    let (_dir, url) = database();
    let results = flash_sale::sell(&url).await.unwrap();
    assert_eq!(
        (results.sold, results.sold_out, results.left),
        (500, 1_500, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_processor_issues_a_licence() {
    let (_dir, url) = database();
    let key = custom_processor::sell(&url).await.unwrap();
    assert!(key.unwrap().starts_with("LICENCE-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_axum_sells_over_http_until_nothing_is_left() {
    let (_dir, url) = database();
    let router = with_axum::router(&url, 2).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let http = reqwest::Client::new();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let answer = http.post(format!("http://{address}/buy")).send().await;
        answers.push(answer.unwrap().status().as_u16());
    }
    assert_eq!(answers, [201, 201, 409]);
    let stock = http.get(format!("http://{address}/stock")).send().await;
    assert_eq!(stock.unwrap().text().await.unwrap(), "0");
    server.abort();
}
