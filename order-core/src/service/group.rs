//! Concurrent requests share one transaction.
//!
//! One task takes whatever waits, runs it as one group, answers each member after the commit,
//! and takes what came meanwhile. There is no timer: a lone request finds nobody and waits for
//! nobody, and the slower the commit, the larger the next group.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{Id, Instrument, Level, Span, debug_span, span_enabled};

use super::{
    GROUP_ORDERS, Parts,
    gate::{Gate, Limits, Place},
};
use crate::{
    domain::{NewOrder, Order, OrderRequest, Placing, Replayable},
    error::Error,
    metrics::{self, Operation, signed},
    supervise::{self, catch},
    trace,
};

/// The most members that the trace of a group names.
const MAX_LINKS: usize = 100;

/// How a member is answered.
struct Answer {
    sender: oneshot::Sender<Result<Replayable<Order>, Error>>,
    /// The span that it waits in, where traces are wanted.
    span: Option<Id>,
    /// Before the group, until it is answered.
    _place: Place,
}

/// Where requests wait for the next group.
#[derive(Clone)]
pub(super) struct Group {
    gate: Arc<Gate>,
    waiting: mpsc::Sender<(OrderRequest, Answer)>,
}

impl Group {
    /// Starts the task that runs the groups; it ends with the last sender.
    pub(super) fn start(parts: Arc<Parts>, placing: Placing, limits: Limits) -> Self {
        let gate = Gate::new(limits, GROUP_ORDERS);
        let turns = Arc::clone(&gate);
        let (waiting, mut arrivals) = mpsc::channel(limits.channel());
        tokio::spawn(async move {
            let mut members: Vec<(OrderRequest, Answer)> = Vec::with_capacity(GROUP_ORDERS);
            while arrivals.recv_many(&mut members, GROUP_ORDERS).await > 0 {
                let (requests, answers): (Vec<_>, Vec<_>) = members.drain(..).unzip();
                let (span, count) = (span(placing, &answers), answers.len());
                let group = async {
                    let orders = parts.stamp(requests);
                    let results = run(&parts, placing, &orders).await;
                    told(&orders, results).collect::<Vec<_>>()
                };
                // Whatever happens to a group, the next one has its turn.
                let results = catch(supervise::GROUP, group.instrument(span))
                    .await
                    .unwrap_or_else(|panic| vec![Err(panic.into()); count]);
                turns.turn_ended();
                for (answer, result) in answers.into_iter().zip(results) {
                    // Whoever stopped waiting finds the order by asking for it.
                    let _ = answer.sender.send(result);
                }
            }
        });
        Self { gate, waiting }
    }

    /// How many wait for the next group.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }

    /// Joins the next group, and waits until it is committed.
    pub(super) async fn join(&self, request: OrderRequest) -> Result<Replayable<Order>, Error> {
        let place = self.gate.enter()?;
        let request = request.in_trace(trace::current());
        let (sender, result) = oneshot::channel();
        let is_traced = span_enabled!(Level::DEBUG);
        let answer = Answer {
            sender,
            span: is_traced.then(|| Span::current().id()).flatten(),
            _place: place,
        };
        self.waiting
            .try_send((request, answer))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Error::Stopping,
            })?;
        result.await.unwrap_or(Err(Error::Stopping))
    }
}

/// What to answer.
pub(super) fn told(
    orders: &[NewOrder],
    results: Vec<Result<Order, Error>>,
) -> impl Iterator<Item = Result<Replayable<Order>, Error>> {
    orders.iter().zip(results).map(|(order, result)| {
        result.map(|stored| Replayable {
            replayed: order.is_replayed_by(&stored),
            value: stored,
        })
    })
}

/// The span of a group. It has no parent, since its members have one each: it is linked to the
/// spans that they wait in.
fn span(placing: Placing, answers: &[Answer]) -> Span {
    let operation = Operation::from(placing).as_str();
    let span =
        debug_span!(parent: None, "group", otel.name = operation, orders = signed(answers.len()));
    for member in answers
        .iter()
        .filter_map(|answer| answer.span.as_ref())
        .take(MAX_LINKS)
    {
        span.follows_from(member);
    }
    span
}

/// Runs a group; each order has a result of its own. When the backend refuses the group for
/// good, every order is tried alone, so that a bad one does not fail its neighbours.
pub(super) async fn run(
    parts: &Parts,
    placing: Placing,
    orders: &[NewOrder],
) -> Vec<Result<Order, Error>> {
    match once(parts, placing, orders).await {
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
                let alone = once(parts, placing, std::slice::from_ref(order)).await;
                results.push(alone.and_then(super::only));
            }
            results
        }
    }
}

async fn once(
    parts: &Parts,
    placing: Placing,
    orders: &[NewOrder],
) -> Result<Vec<Result<Order, Error>>, Error> {
    let start = Instant::now();
    let results = match placing {
        Placing::Accept => parts.accept(orders).await,
        Placing::Purchase => {
            let outcome = parts.purchase(orders).await;
            let results = outcome.map(|outcome| outcome.results);
            if results
                .as_ref()
                .is_ok_and(|results| results.iter().any(Result::is_ok))
            {
                parts.sold.notify_one();
            }
            results
        }
    };
    let ended = match placing {
        Placing::Accept => metrics::accepted,
        Placing::Purchase => metrics::purchased,
    };
    let told = results.as_ref().map(Vec::as_slice);
    ended(orders, start.elapsed(), &told);
    results
}
