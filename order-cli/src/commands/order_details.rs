//! `order-cli order get` for people: an order with its lines, and what became of its task.

use std::collections::HashMap;

use order_core::{
    OrderService,
    domain::{InCurrency, Order, ProductId},
};
use serde_json::{Value, json};

use crate::output::{Column, Output};

const DETAILS: &[Column] = &[
    ("id", "/id"),
    ("status", "/status"),
    ("total_price", "/total_price"),
    ("currency", "/currency"),
    ("reference", "/reference"),
    ("customer", "/customer"),
    ("client_id", "/client"),
    ("failure", "/failure/code"),
    ("product_id", "/failure/product_id"),
    ("requested", "/failure/requested"),
    ("available", "/failure/available"),
    ("created_at", "/created_at"),
    ("decided_at", "/decided_at"),
    ("held_until", "/held_until"),
    ("confirmed_at", "/confirmed_at"),
    ("completed_at", "/completed_at"),
    ("cancelled_at", "/cancelled_at"),
];
const LINES: &[Column] = &[
    ("product_id", "/product_id"),
    ("name", "/name"),
    ("quantity", "/quantity"),
    ("unit_price", "/unit_price"),
    ("cancelled", "/cancelled_quantity"),
];
pub(super) const TASK: &[Column] = &[
    ("kind", "/kind"),
    ("state", "/state"),
    ("attempts", "/attempts"),
    ("at", "/at"),
    ("reason", "/reason"),
];
pub(super) const ATTEMPTS: &[Column] = &[
    ("attempt", "/attempt"),
    ("started_at", "/started_at"),
    ("ended_at", "/ended_at"),
    ("worker_id", "/worker_id"),
    ("error", "/error"),
];

/// Prints an order with what else is asked for.
pub(super) async fn show(
    order: Order,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<()> {
    let mut ids: Vec<ProductId> = order.lines.iter().map(|line| line.product_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let products = service.store().products_named(&[], &ids).await?;
    let names: HashMap<ProductId, String> = products
        .into_iter()
        .map(|product| (product.id, product.name))
        .collect();
    let lines: Vec<Value> = order
        .lines
        .iter()
        .map(|line| {
            let mut shown = json!(line);
            shown["name"] = json!(names.get(&line.product_id));
            shown
        })
        .collect();
    let id = order.id;
    output.fields(DETAILS, InCurrency::from(order))?;
    output.section("Lines", LINES, &lines)?;
    if let Some(history) = service.task_history(id).await? {
        output.section("Task", TASK, history.task.as_slice())?;
        output.section("Failed attempts", ATTEMPTS, &history.attempts)?;
    }
    Ok(())
}
