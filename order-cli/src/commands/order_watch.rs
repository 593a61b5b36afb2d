//! `order-cli order watch`: prints each state of an order as it is reached.

use std::process::ExitCode;

use chrono::SecondsFormat;
use order_core::{
    OrderService,
    domain::{Order, OrderId, Progress, Stage},
};
use serde::Serialize;

use crate::output::{Column, Output};

const COLUMNS: &[Column] = &[("updated_at", "/updated_at"), ("status", "/status")];

/// A state in the form of the API.
#[derive(Serialize)]
struct State {
    order_id: OrderId,
    status: &'static str,
    updated_at: String,
}

/// Prints the past states of `order` and those that follow, until one is final or the output is
/// closed.
pub(crate) async fn run(
    order: &Order,
    service: &OrderService,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    // The watch begins before the state is read, so that no change is missed in between.
    let mut watch = service.watch(order.id)?;
    let mut live = output.live(COLUMNS);
    let mut stages = Progress::from(order).stages();
    loop {
        for stage in &stages {
            if !live.row(&state(order.id, *stage))? || stage.status.is_final() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let printed = stages.last().map_or(order.status, |stage| stage.status);
        stages = watch.since(printed).await?.1;
    }
}

fn state(order_id: OrderId, stage: Stage) -> State {
    State {
        order_id,
        status: stage.status.as_str(),
        updated_at: stage
            .updated_at
            .to_rfc3339_opts(SecondsFormat::Micros, true),
    }
}
