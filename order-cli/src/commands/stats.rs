//! `order-cli stats` and `order-cli workers`: what the shop does, and who works.

use std::process::ExitCode;

use order_core::OrderService;
use order_server::runtime::answers;

use crate::output::{Column, Output};

const STATS: &[Column] = &[
    ("at", "/at"),
    ("accepted", "/totals/accepted"),
    ("sold", "/totals/sold"),
    ("pending", "/totals/pending"),
    ("held", "/totals/held"),
    ("success", "/totals/success"),
    ("completed", "/totals/completed"),
    ("failed", "/totals/failed"),
    ("expired", "/totals/expired"),
    ("cancelled", "/totals/cancelled"),
    ("oldest_pending_age_seconds", "/oldest_pending_age_seconds"),
    ("wait_p50_seconds", "/wait/p50_seconds"),
    ("wait_p95_seconds", "/wait/p95_seconds"),
    ("wait_p99_seconds", "/wait/p99_seconds"),
];
const HOT: &[Column] = &[
    ("id", "/id"),
    ("sku", "/sku"),
    ("name", "/name"),
    ("stock", "/stock"),
    ("wanted", "/wanted"),
];
const WORKERS: &[Column] = &[
    ("id", "/id"),
    ("host", "/host"),
    ("pid", "/pid"),
    ("version", "/version"),
    ("topics", "/topics"),
    ("state", "/state"),
    ("sold", "/sold"),
    ("failed", "/failed"),
    ("processed", "/processed"),
    ("in_flight", "/in_flight"),
    ("started_at", "/started_at"),
    ("heartbeat_at", "/heartbeat_at"),
];

/// Prints the figures of the shop.
pub(crate) async fn run(service: &OrderService, output: &Output) -> anyhow::Result<ExitCode> {
    let stats = serde_json::to_value(answers::stats(service).await?)?;
    output.fields(STATS, &stats)?;
    if let (true, Some(hot)) = (output.is_for_people(), stats["hot_products"].as_array()) {
        output.section("In the last 1000 orders", HOT, hot)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the workers, the latest started first.
pub(crate) async fn workers(service: &OrderService, output: &Output) -> anyhow::Result<ExitCode> {
    let workers = service.workers().await?;
    let workers: Vec<_> = workers.into_iter().map(answers::worker).collect();
    output.rows(WORKERS, &workers)?;
    Ok(ExitCode::SUCCESS)
}
