//! All operations together.

use order_core::OrderService;
use poem_openapi::OpenApiService;
use tokio_util::sync::CancellationToken;

use super::{audit, bulk, follow, health, operate, orders, products, stats, stock};

/// All operations.
pub type AllOperations = (
    products::Products,
    stock::Stock,
    orders::Orders,
    follow::Follow,
    bulk::BulkOrders,
    operate::Operations,
    audit::Audit,
    stats::Stats,
    health::Health,
);

/// The operations over `service`, with their description. Requests that wait for a decision are
/// answered when `stop` is cancelled. Each account may have up to `max_streams` event streams.
pub(crate) fn service(
    service: OrderService,
    health: health::Health,
    max_streams: usize,
    stop: CancellationToken,
) -> OpenApiService<AllOperations, ()> {
    let follow = follow::Follow::new(service.clone(), max_streams, stop);
    let operations = (
        products::Products::new(service.clone()),
        stock::Stock::new(service.clone()),
        orders::Orders::new(service.clone(), follow.clone()),
        follow,
        bulk::BulkOrders::new(service.clone()),
        operate::Operations::new(service.clone()),
        audit::Audit::new(service.clone()),
        stats::Stats::new(service),
        health,
    );
    OpenApiService::new(operations, "Orders", env!("CARGO_PKG_VERSION"))
        .description("Sells stock under heavy concurrency without overselling.")
        .url_prefix("/api/v1")
}
