//! Confirmations share transactions as orders do: those that come while one group commits are the next
//! group. Each has a result of its own.

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tracing::{Id, Instrument, Level, Span, span_enabled};

use super::{
    admission::{AdmissionControl, Limits, Permit},
    group_commit::group_span,
    inner::ServiceInner,
    run_group::{GROUP_ORDERS, concerns_all, only},
};
use crate::{
    domain::{Order, OrderId},
    error::Error,
    metrics::Operation,
};

/// The most that are confirmed alone at once, of a group that could not be confirmed together.
const ALONE_AT_ONCE: usize = 4;

type Confirmed = Result<Option<Order>, Error>;

/// The queue in front of the next group of confirmations.
#[derive(Clone)]
pub(super) struct Confirmations {
    admission: Arc<AdmissionControl>,
    waiting: mpsc::Sender<Member>,
}

/// The order to confirm, and the caller that waits for that.
struct Member {
    order: OrderId,
    sender: oneshot::Sender<Confirmed>,
    /// The span that it waits in, where traces are wanted.
    span: Option<Id>,
    /// Its admission, until it is answered.
    permit: Permit,
}

impl Member {
    fn answer(self, result: Confirmed) {
        drop(self.permit);
        // A caller that stopped waiting finds out by confirming again.
        let _ = self.sender.send(result);
    }
}

impl Confirmations {
    /// Starts the task that runs the groups; it ends with the last sender.
    pub(super) fn start(inner: Arc<ServiceInner>, limits: Limits) -> Self {
        let admission = AdmissionControl::new(limits, GROUP_ORDERS);
        let (waiting, arrivals) = mpsc::channel(limits.channel());
        tokio::spawn(run(inner, arrivals, Arc::clone(&admission)));
        Self { admission, waiting }
    }

    /// The number of confirmations that wait for the next group.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.max_capacity() - self.waiting.capacity()
    }

    /// Confirms an order with the next group.
    pub(super) async fn submit(&self, order: OrderId) -> Confirmed {
        let permit = self.admission.admit()?;
        let (sender, result) = oneshot::channel();
        let is_traced = span_enabled!(Level::DEBUG);
        let member = Member {
            order,
            sender,
            span: is_traced.then(|| Span::current().id()).flatten(),
            permit,
        };
        self.waiting
            .try_send(member)
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Error::Stopping,
            })?;
        result.await.unwrap_or(Err(Error::Stopping))
    }
}

async fn run(
    inner: Arc<ServiceInner>,
    mut arrivals: mpsc::Receiver<Member>,
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
    let mut ids: Vec<OrderId> = members.iter().map(|member| member.order).collect();
    ids.sort_unstable();
    ids.dedup();
    let spans = members.iter().filter_map(|member| member.span.as_ref());
    let span = group_span(Operation::Confirm, ids.len(), spans);
    let confirmed = inner.confirm(&ids, inner.clock.now());
    match confirmed.instrument(span).await {
        Ok(results) => {
            let results: HashMap<OrderId, Confirmed> = ids.into_iter().zip(results).collect();
            for member in members {
                let result = results.get(&member.order).cloned();
                member.answer(only(result));
            }
        }
        Err(error) if ids.len() == 1 || concerns_all(&error) => {
            for member in members {
                member.answer(Err(error.clone()));
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
    let alone = stream::iter(members).for_each_concurrent(ALONE_AT_ONCE, async |member| {
        let confirmed = inner.confirm(&[member.order], inner.clock.now()).await;
        member.answer(confirmed.and_then(only));
    });
    alone.await;
}
