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
    aside::{Aside, Member, Waiting},
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
pub(super) struct Answer {
    sender: oneshot::Sender<Result<Replayable<Order>, Error>>,
    /// The span that it waits in, where traces are wanted.
    span: Option<Id>,
    /// Before the group, until it is answered.
    pub(super) place: Place,
}

impl Answer {
    pub(super) fn send(self, result: Result<Replayable<Order>, Error>) {
        // Whoever stopped waiting finds the order by asking for it.
        let _ = self.sender.send(result);
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }
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
        let (waiting, arrivals) = mpsc::channel(limits.channel());
        let contention = parts.store.contention().unwrap_or_default();
        let groups = Groups {
            aside: Aside::new(contention, limits.max_waiting.max(1)),
            gate: Arc::clone(&gate),
            parts,
            placing,
            arrivals,
        };
        tokio::spawn(groups.run());
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
            place,
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

/// The task that runs one group after the other.
struct Groups {
    parts: Arc<Parts>,
    placing: Placing,
    gate: Arc<Gate>,
    arrivals: mpsc::Receiver<(OrderRequest, Answer)>,
    aside: Aside,
}

impl Groups {
    async fn run(mut self) {
        while let Some(members) = self.next().await {
            if members.is_empty() {
                continue;
            }
            let span = span(self.placing, &members);
            let (requests, waiting): (Vec<OrderRequest>, Vec<Waiting>) =
                members.into_iter().map(Member::split).unzip();
            let group = async {
                let orders = self.parts.stamp(requests);
                let results = run(&self.parts, self.placing, &orders).await;
                let results: Vec<_> = told(&orders, results).collect();
                orders.into_iter().zip(results).collect::<Vec<_>>()
            };
            // Whatever happens to a group, the next one has its turn.
            let results = catch(supervise::GROUP, group.instrument(span)).await;
            self.gate.turn_ended();
            match results {
                Ok(results) => {
                    for (waiting, (order, result)) in waiting.into_iter().zip(results) {
                        self.end(waiting, order, result);
                    }
                }
                Err(panic) => {
                    let error = Error::from(panic);
                    for waiting in waiting {
                        waiting.answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Answers one who had a turn, or sets him aside.
    fn end(&mut self, waiting: Waiting, order: NewOrder, result: Result<Replayable<Order>, Error>) {
        match result {
            Err(Error::ProductContended { product_id }) => {
                self.aside
                    .push(waiting.with(order.into_request()), product_id);
            }
            result => waiting.answer.send(result),
        }
    }

    /// Who has a turn next: those whose product can be locked again, then those who came, but for
    /// those who want what somebody before them still waits for. `None` when nobody can come any
    /// more.
    async fn next(&mut self) -> Option<Vec<Member>> {
        self.aside.expire();
        let mut members = self.aside.ready(GROUP_ORDERS);
        let room = GROUP_ORDERS - members.len();
        let mut arrived: Vec<(OrderRequest, Answer)> = Vec::with_capacity(room);
        if members.is_empty() {
            tokio::select! {
                count = self.arrivals.recv_many(&mut arrived, room) => {
                    if count == 0 {
                        return None;
                    }
                }
                () = self.aside.changed(), if !self.aside.is_empty() => {}
            }
        } else {
            while arrived.len() < room
                && let Ok(next) = self.arrivals.try_recv()
            {
                arrived.push(next);
            }
        }
        for (request, answer) in arrived {
            let product = self.aside.blocks(request.lines());
            let member = Member::new(request, answer);
            match product {
                Some(product) => self.aside.push(member, product),
                None => members.push(member),
            }
        }
        Some(members)
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
fn span(placing: Placing, members: &[Member]) -> Span {
    let operation = Operation::from(placing).as_str();
    let span =
        debug_span!(parent: None, "group", otel.name = operation, orders = signed(members.len()));
    for member in members
        .iter()
        .filter_map(|member| member.waiting.answer.span.as_ref())
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
        Err(error) if orders.len() == 1 || is_of_all(&error) => {
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

/// Whether an error is no matter of single orders: each alone would meet it, too.
const fn is_of_all(error: &Error) -> bool {
    error.is_transient() && !matches!(error, Error::Locked)
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
