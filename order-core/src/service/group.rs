//! Concurrent requests share one transaction.
//!
//! One task takes whatever waits, runs it as one group, answers each member after the commit,
//! and takes what came meanwhile. There is no timer: a lone request finds nobody and waits for
//! nobody, and the slower the commit, the larger the next group.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{
    GROUP_ORDERS, Parts,
    gate::{Gate, Limits, Place},
};
use crate::{
    domain::{NewOrder, Order, OrderRequest},
    error::Error,
};

type Answer = oneshot::Sender<Result<Order, Error>>;

/// The way its members buy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Accept,
    Purchase,
}

/// One that waits for the next group.
type Member = (OrderRequest, (Answer, Place));

/// Where requests wait for the next group.
#[derive(Clone)]
pub(super) struct Group {
    gate: Arc<Gate>,
    waiting: mpsc::Sender<Member>,
}

impl Group {
    /// Starts the task that runs the groups; it ends with the last sender.
    pub(super) fn start(parts: Arc<Parts>, way: Way, limits: Limits) -> Self {
        let gate = Gate::new(limits, GROUP_ORDERS);
        let turns = Arc::clone(&gate);
        let (waiting, mut arrivals) = mpsc::channel(limits.max_waiting.max(1));
        tokio::spawn(async move {
            let mut members: Vec<Member> = Vec::with_capacity(GROUP_ORDERS);
            while arrivals.recv_many(&mut members, GROUP_ORDERS).await > 0 {
                let (requests, answers): (Vec<_>, Vec<_>) = members.drain(..).unzip();
                let orders = parts.stamp(requests);
                let results = run(&parts, way, &orders).await;
                turns.turn_ended();
                for ((answer, _place), result) in answers.into_iter().zip(results) {
                    // Whoever stopped waiting finds the order by asking for it.
                    let _ = answer.send(result);
                }
            }
        });
        Self { gate, waiting }
    }

    /// Joins the next group, and waits until it is committed.
    pub(super) async fn join(&self, request: OrderRequest) -> Result<Order, Error> {
        let place = self.gate.enter()?;
        let (answer, result) = oneshot::channel();
        self.waiting
            .try_send((request, (answer, place)))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Error::Stopping,
            })?;
        result.await.unwrap_or(Err(Error::Stopping))
    }
}

/// Runs a group; each order has a result of its own. When the backend refuses the group for
/// good, every order is tried alone, so that a bad one does not fail its neighbours.
pub(super) async fn run(parts: &Parts, way: Way, orders: &[NewOrder]) -> Vec<Result<Order, Error>> {
    match once(parts, way, orders).await {
        Ok(results) => results,
        Err(error) if orders.len() == 1 || error.is_transient() => {
            orders.iter().map(|_| Err(error.clone())).collect()
        }
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                orders = orders.len(),
                "group failed, trying its orders alone"
            );
            let mut results = Vec::with_capacity(orders.len());
            for order in orders {
                let alone = once(parts, way, std::slice::from_ref(order)).await;
                results.push(alone.and_then(super::only));
            }
            results
        }
    }
}

async fn once(
    parts: &Parts,
    way: Way,
    orders: &[NewOrder],
) -> Result<Vec<Result<Order, Error>>, Error> {
    match way {
        Way::Accept => parts.accept(orders).await,
        Way::Purchase => {
            let outcome = parts.store.purchase(orders, parts.strategy).await?;
            Ok(outcome.results)
        }
    }
}
