//! Group commit: concurrent requests share one transaction.
//!
//! One task takes the requests that wait, runs them as one group, answers each after the commit,
//! and takes those that came meanwhile. There is no timer: a lone request finds nobody and waits
//! for nobody, and the slower the commit, the larger the next group.

use std::sync::Arc;

use tracing::{Id, Instrument, Span, debug_span};

use super::{
    admission::{AdmissionControl, Limits},
    inner::ServiceInner,
    request_queue::{Arrivals, RequestQueue},
    run_group::{GROUP_ORDERS, responses, run_group},
    set_aside::{Member, SetAside, Waiting},
};
use crate::{
    domain::{NewOrder, Order, OrderMode, OrderRequest, Replayable},
    error::Error,
    metrics::{Operation, part, signed},
    supervise::catch,
    trace,
};

/// The most members that the trace of a group names.
const MAX_LINKS: usize = 100;

/// Orders that wait for the next group.
#[derive(Clone)]
pub(super) struct GroupCommit {
    queue: RequestQueue<OrderRequest, Replayable<Order>>,
}

impl GroupCommit {
    /// Starts the task that runs the groups; it ends with the last sender.
    pub(super) fn start(inner: Arc<ServiceInner>, mode: OrderMode, limits: Limits) -> Self {
        let (queue, admission, arrivals) = RequestQueue::new(limits);
        let contention = inner.orders.contention().unwrap_or_default();
        let groups = Groups {
            set_aside: SetAside::new(contention, limits.max_waiting.max(1)),
            admission,
            inner,
            mode,
            arrivals,
        };
        tokio::spawn(groups.run());
        Self { queue }
    }

    /// The number of requests that wait for the next group.
    pub(super) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Submits a request to the next group, and waits until that is committed.
    pub(super) async fn submit(&self, request: OrderRequest) -> Result<Replayable<Order>, Error> {
        self.queue.submit(request.in_trace(trace::current())).await
    }
}

/// The task that runs one group after the other.
struct Groups {
    inner: Arc<ServiceInner>,
    mode: OrderMode,
    admission: Arc<AdmissionControl>,
    arrivals: Arrivals<OrderRequest, Replayable<Order>>,
    set_aside: SetAside,
}

impl Groups {
    async fn run(mut self) {
        while let Some(members) = self.next().await {
            if members.is_empty() {
                continue;
            }
            let spans = members.iter();
            let spans = spans.filter_map(|member| member.waiting.response.span.as_ref());
            let span = group_span(self.mode.into(), members.len(), spans);
            let (requests, waiting): (Vec<OrderRequest>, Vec<Waiting>) =
                members.into_iter().map(Member::split).unzip();
            let group = async {
                let orders = self.inner.new_orders(requests);
                let results = run_group(&self.inner, self.mode, &orders).await;
                let results: Vec<_> = responses(&orders, results).collect();
                orders.into_iter().zip(results).collect::<Vec<_>>()
            };
            // Whatever happens to a group, the next one has its turn.
            let results = catch(part::GROUP, group.instrument(span)).await;
            self.admission.batch_ended();
            match results {
                Ok(results) => {
                    for (waiting, (order, result)) in waiting.into_iter().zip(results) {
                        self.end(waiting, order, result);
                    }
                }
                Err(panic) => {
                    let error = Error::from(panic);
                    for waiting in waiting {
                        waiting.response.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Answers a request that had its turn, or sets it aside.
    fn end(&mut self, waiting: Waiting, order: NewOrder, result: Result<Replayable<Order>, Error>) {
        match result {
            Err(Error::ProductContended { product_id }) => {
                self.set_aside
                    .push(waiting.with(order.into_request()), product_id);
            }
            result => waiting.response.send(result),
        }
    }

    /// The members of the next group: requests whose product can be locked again, then those that
    /// came, except those that want a product for which an earlier one still waits. `None` when
    /// nobody can come any more.
    async fn next(&mut self) -> Option<Vec<Member>> {
        self.set_aside.expire();
        let mut members = self.set_aside.ready(GROUP_ORDERS);
        let room = GROUP_ORDERS - members.len();
        let mut arrived = Vec::with_capacity(room);
        if members.is_empty() {
            tokio::select! {
                count = self.arrivals.recv_many(&mut arrived, room) => {
                    if count == 0 {
                        return None;
                    }
                }
                () = self.set_aside.changed(), if !self.set_aside.is_empty() => {}
            }
        } else {
            while arrived.len() < room
                && let Ok(next) = self.arrivals.try_recv()
            {
                arrived.push(next);
            }
        }
        for (request, response) in arrived {
            let product = self.set_aside.blocks(request.lines());
            let member = Member::new(request, response);
            match product {
                Some(product) => self.set_aside.push(member, product),
                None => members.push(member),
            }
        }
        Some(members)
    }
}

/// The span of a group. It has no parent, since its members have one each: it is linked to the
/// spans that they wait in.
pub(super) fn group_span<'a>(
    operation: Operation,
    orders: usize,
    members: impl Iterator<Item = &'a Id>,
) -> Span {
    let operation = operation.as_str();
    let span = debug_span!(parent: None, "group", otel.name = operation, orders = signed(orders));
    for member in members.take(MAX_LINKS) {
        span.follows_from(member);
    }
    span
}
