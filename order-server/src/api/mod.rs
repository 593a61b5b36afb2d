//! The operations of `/api/v1`, described to OpenAPI as they are implemented.

mod bulk;
mod cursor;
mod document;
pub mod health;
mod order_body;
mod orders;
mod products;
mod wire;

pub use self::document::document;
use order_core::OrderService;
use poem_openapi::{OpenApiService, Tags};

/// What the operations are grouped by.
#[derive(Tags)]
enum Tag {
    /// What is for sale.
    Products,
    /// What was bought, at once or in the background.
    Orders,
    /// Whether the server is well.
    Health,
}

/// All operations.
pub type Operations = (
    products::Products,
    orders::Orders,
    bulk::BulkOrders,
    health::Health,
);

/// The operations over `service`, with their description.
#[must_use]
pub fn service(service: OrderService, health: health::Health) -> OpenApiService<Operations, ()> {
    let operations = (
        products::Products::new(service.clone()),
        orders::Orders::new(service.clone()),
        bulk::BulkOrders::new(service),
        health,
    );
    OpenApiService::new(operations, "Orders", env!("CARGO_PKG_VERSION"))
        .description("Sells stock under heavy concurrency, and never what is not there.")
        .url_prefix("/api/v1")
}
