//! Confirmations share transactions as orders do: those that come while one group commits are the next
//! group. Each has a result of its own.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, stream};
use tracing::Instrument;

use super::{
    admission::{AdmissionControl, Limits},
    group_commit::group_span,
    inner::ServiceInner,
    request_queue::{Arrivals, RequestQueue},
    response::Response,
    run_group::{GROUP_ORDERS, concerns_all, only},
};
use crate::{
    domain::{Order, OrderId},
    metrics::Operation,
};

/// The most that are confirmed alone at once, of a group that could not be confirmed together.
const ALONE_AT_ONCE: usize = 4;

/// The order to confirm, and the response that its caller waits for.
type Member = (OrderId, Response<Option<Order>>);

/// Starts the task that runs the groups of the queue; it ends with the queue.
pub(super) fn start(
    inner: Arc<ServiceInner>,
    limits: Limits,
) -> RequestQueue<OrderId, Option<Order>> {
    let (queue, admission, arrivals) = RequestQueue::new(limits);
    tokio::spawn(run(inner, arrivals, admission));
    queue
}

async fn run(
    inner: Arc<ServiceInner>,
    mut arrivals: Arrivals<OrderId, Option<Order>>,
    admission: Arc<AdmissionControl>,
) {
    let mut members = Vec::with_capacity(GROUP_ORDERS);
    while arrivals.recv_many(&mut members, GROUP_ORDERS).await > 0 {
        run_group(&inner, std::mem::take(&mut members)).await;
        admission.batch_ended();
    }
}

/// Confirms a group and answers its members. When the store refuses the group, since somebody holds
/// one of its orders locked, for example, each is confirmed alone, and the next group does not wait
/// for that.
async fn run_group(inner: &Arc<ServiceInner>, members: Vec<Member>) {
    let mut ids: Vec<OrderId> = members.iter().map(|(order, _)| *order).collect();
    ids.sort_unstable();
    ids.dedup();
    let spans = members
        .iter()
        .filter_map(|(_, response)| response.span.as_ref());
    let span = group_span(Operation::Confirm, ids.len(), spans);
    let confirmed = inner.confirm(&ids, inner.clock.now());
    match confirmed.instrument(span).await {
        Ok(results) => {
            let results: HashMap<OrderId, _> = ids.into_iter().zip(results).collect();
            for (order, response) in members {
                response.send(only(results.get(&order).cloned()));
            }
        }
        Err(error) if ids.len() == 1 || concerns_all(&error) => {
            for (_, response) in members {
                response.send(Err(error.clone()));
            }
        }
        Err(error) => {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(
                error = cause,
                orders = ids.len(),
                "a group was not confirmed, trying its orders alone"
            );
            tokio::spawn(confirm_alone(Arc::clone(inner), members));
        }
    }
}

async fn confirm_alone(inner: Arc<ServiceInner>, members: Vec<Member>) {
    let alone =
        stream::iter(members).for_each_concurrent(ALONE_AT_ONCE, async |(order, response)| {
            let confirmed = inner.confirm(&[order], inner.clock.now()).await;
            response.send(confirmed.and_then(only));
        });
    alone.await;
}
