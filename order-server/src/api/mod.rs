//! The operations of `/api/v1`, described to OpenAPI as they are implemented.

mod bulk;
mod cursor;
pub mod description;
mod document;
mod follow;
pub mod health;
mod operate;
mod operate_body;
mod order_body;
mod orders;
mod products;
mod stats;
mod wire;

use order_core::OrderService;
use poem_openapi::{OpenApiService, Tags};
use tokio_util::sync::CancellationToken;

pub use self::document::document;

/// What the operations are grouped by.
#[derive(Tags)]
enum Tag {
    /// What is for sale.
    Products,
    /// What was bought, at once or in the background.
    Orders,
    /// What operators look at and do.
    Operations,
    /// Whether the server is well.
    Health,
}

/// All operations.
pub type Operations = (
    products::Products,
    orders::Orders,
    follow::Follow,
    bulk::BulkOrders,
    operate::Operations,
    stats::Stats,
    health::Health,
);

/// The operations over `service`, with their description. Nobody is kept waiting once `stop`
/// is cancelled.
#[must_use]
pub fn service(
    service: OrderService,
    health: health::Health,
    stop: CancellationToken,
) -> OpenApiService<Operations, ()> {
    let follow = follow::Follow::new(service.clone(), stop);
    let operations = (
        products::Products::new(service.clone()),
        orders::Orders::new(service.clone(), follow.clone()),
        follow,
        bulk::BulkOrders::new(service.clone()),
        operate::Operations::new(service.clone()),
        stats::Stats::new(service),
        health,
    );
    OpenApiService::new(operations, "Orders", env!("CARGO_PKG_VERSION"))
        .description("Sells stock under heavy concurrency, and never what is not there.")
        .url_prefix("/api/v1")
}
