//! The shop behind an HTTP server of one's own: `cargo run --example with_axum`, then
//! `curl -X POST localhost:3000/buy`.

use std::error::Error;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use order_core::{
    Error as OrderError, OrderService,
    domain::{OrderRequest, ProductId, ProductRequest, Quantity},
    store,
};
use tokio::net::TcpListener;

/// What the handlers share.
#[derive(Clone)]
struct Shop {
    orders: OrderService,
    lamp: ProductId,
}

async fn buy(State(shop): State<Shop>) -> Result<(StatusCode, String), StatusCode> {
    let one = Quantity::new(1).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let order = OrderRequest::one(shop.lamp, one);
    match shop.orders.purchase(order).await {
        Ok(order) => Ok((StatusCode::CREATED, order.id.to_string())),
        Err(OrderError::InsufficientStock { .. }) => Err(StatusCode::CONFLICT),
        Err(error) if error.is_transient() => Err(StatusCode::SERVICE_UNAVAILABLE),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn stock(State(shop): State<Shop>) -> Result<String, StatusCode> {
    let lamp = shop.orders.product(shop.lamp).await;
    match lamp.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)? {
        Some(lamp) => Ok(lamp.stock.to_string()),
        None => Err(StatusCode::NOT_FOUND),
    }
}

/// A router that sells `lamps` lamps.
///
/// # Errors
/// Those of the store.
pub async fn router(database_url: &str, lamps: i64) -> Result<Router, Box<dyn Error>> {
    let store = store::connect(database_url).await?;
    store.migrate().await?;
    let orders = OrderService::builder(store).build();
    let lamp = ProductRequest::new("Lamp", "19.99".parse()?, lamps, None)?;
    let lamp = orders.create_product(lamp).await?.id;
    let router = Router::new()
        .route("/buy", post(buy))
        .route("/stock", get(stock));
    Ok(router.with_state(Shop { orders, lamp }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::temp_dir().join(format!("with-axum-{}.db", std::process::id()));
    let router = router(&format!("sqlite://{}", file.display()), 100).await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, router).await?;
    Ok(())
}
