//! All operations together.

use order_core::OrderService;
use poem_openapi::OpenApiService;
use tokio_util::sync::CancellationToken;

use super::{
    audit, bulk, dead_letters, event_streams::EventStreams, follow, health, holds, live_stock,
    operate, orders, products, stats, stats_history,
};

/// All operations.
pub type AllOperations = (
    products::Products,
    live_stock::LiveStock,
    orders::Orders,
    holds::Holds,
    follow::Follow,
    bulk::BulkOrders,
    operate::Operations,
    dead_letters::DeadLetters,
    audit::Audit,
    stats::Stats,
    stats_history::StatsHistory,
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
    let streams = EventStreams::new(max_streams, stop);
    let follow = follow::Follow::new(service.clone(), streams.clone());
    let operations = (
        products::Products::new(service.clone()),
        live_stock::LiveStock::new(service.clone(), streams),
        orders::Orders::new(service.clone(), follow.clone()),
        holds::Holds::new(service.clone()),
        follow,
        bulk::BulkOrders::new(service.clone()),
        operate::Operations::new(service.clone()),
        dead_letters::DeadLetters::new(service.clone()),
        audit::Audit::new(service.clone()),
        stats::Stats::new(service.clone()),
        stats_history::StatsHistory::new(service),
        health,
    );
    OpenApiService::new(operations, "Orders", env!("CARGO_PKG_VERSION"))
        .description("Sells stock under heavy concurrency without overselling.")
        .url_prefix("/api/v1")
}
