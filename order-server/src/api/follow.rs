//! Follows an order: waits for its decision, and streams its states.
//!
//! The id of an event is its state. An order reaches each state at most once, so that the last one
//! that a client saw determines the events that it still has to get.

use futures_util::stream;
use order_core::{
    Error, OrderService,
    domain::{Order, OrderId, OrderStatus, Progress, Stage},
    watch::Watch,
};
use poem::web::{Data, sse::Event};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
};
use uuid::Uuid;

use super::{
    event_streams::{EventStreams, Events},
    order_body::{StatusBody, is_visible},
    tag::Tag,
};
use crate::{
    auth::{Caller, ReadOrders},
    http::{account::Account, prefer::Wait, problem::Problem},
};

#[derive(ApiResponse)]
enum Followed {
    /// The states of the order, from the current one, or from the one after `Last-Event-ID`
    #[oai(status = 200)]
    Events(Events<StatusBody>),
    /// The client has seen the final state, and need not come again
    #[oai(status = 204)]
    Nothing,
}

/// Follows orders, for as long as the server runs.
#[derive(Clone)]
pub struct Follow {
    service: OrderService,
    streams: EventStreams,
}

impl Follow {
    pub(super) const fn new(service: OrderService, streams: EventStreams) -> Self {
        Self { service, streams }
    }

    /// Waits for the decision as long as the client asked for. Returns the order as it is then, or as
    /// given if it is still pending, and the preference that was applied. Waiting cannot fail: an
    /// accepted order stays accepted, whatever goes wrong meanwhile.
    pub(super) async fn decided(&self, order: Order, wait: Wait) -> (Order, Option<String>) {
        let Some(limit) = wait.limit() else {
            return (order, None);
        };
        let decided = self.service.wait_for_decision(&order, limit);
        match self.streams.stop().run_until_cancelled(decided).await {
            Some(Ok(decided)) => (decided.unwrap_or(order), wait.applied()),
            Some(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot wait for the decision"
                );
                (order, None)
            }
            None => (order, None),
        }
    }

    /// Streams the states that follow, until a final one.
    fn stream(&self, states: States, caller: Caller, account: Account) -> Events<StatusBody> {
        let states = stream::unfold(states, States::next);
        self.streams.stream(states, event, caller, account)
    }
}

#[OpenApi(tag = "Tag::Orders")]
impl Follow {
    /// Follow an order: an event for each state that it reaches, until a final one
    #[oai(
        path = "/orders/:id/events",
        method = "get",
        operation_id = "followOrder"
    )]
    async fn events(
        &self,
        reader: ReadOrders,
        caller: Data<&Caller>,
        account: Data<&Account>,
        id: Path<Uuid>,
        /// The last state that the client saw: the stream begins after it
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<Followed, Problem> {
        let id = OrderId(id.0);
        // The watch begins first, so that it sees every state after the one that is read.
        let watch = self.service.watch(id)?;
        let order = self.service.order(id).await?;
        let order = order.filter(|order| is_visible(order, reader.only));
        let order = order.ok_or_else(|| Problem::order_not_found(id.0))?;
        let last_sent = last_event_id.0.and_then(|state| state.parse().ok());
        let states = States::new(Progress::from(&order), last_sent, watch);
        if states.are_complete() {
            return Ok(Followed::Nothing);
        }
        let events = self.stream(states, caller.0.clone(), *account.0);
        Ok(Followed::Events(events))
    }
}

/// The states of an order that a client still has to get.
struct States {
    order: Progress,
    last_sent: Option<OrderStatus>,
    unsent: Vec<Stage>,
    watch: Watch,
}

impl States {
    fn new(order: Progress, last_sent: Option<OrderStatus>, watch: Watch) -> Self {
        let last_sent =
            last_sent.filter(|last| order.stages().iter().any(|stage| stage.status == *last));
        let unsent = last_sent.map_or_else(|| vec![order.stage()], |last| order.since(last));
        Self {
            order,
            last_sent,
            unsent,
            watch,
        }
    }

    fn are_complete(&self) -> bool {
        self.unsent.is_empty() && self.last_sent.is_some_and(OrderStatus::is_final)
    }

    /// The next state; ends after a final one.
    async fn next(mut self) -> Option<(StatusBody, Self)> {
        if self.are_complete() {
            return None;
        }
        if self.unsent.is_empty() {
            (self.order, self.unsent) = self.more().await.ok()?;
        }
        let stage = self.unsent.remove(0);
        self.last_sent = Some(stage.status);
        Some((StatusBody::at(&self.order, stage), self))
    }

    async fn more(&mut self) -> Result<(Progress, Vec<Stage>), Error> {
        self.watch
            .since(self.last_sent.unwrap_or(self.order.status))
            .await
    }
}

fn event(state: StatusBody) -> Event {
    let id = OrderStatus::from(state.status);
    // It has only ids, names and times, which JSON can always express.
    let data = serde_json::to_string(&state).unwrap_or_default();
    Event::message(data).id(id.as_str())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use order_core::{
        domain::{OrderRequest, ProductRequest, Quantity},
        testing::ReferenceStore,
    };
    use poem::{
        IntoResponse,
        http::{HeaderMap, HeaderValue},
    };
    use tokio::{
        io::{AsyncBufReadExt, BufReader},
        time::{Instant, timeout},
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{api::event_streams::HEARTBEAT, auth::UntilEnd};

    async fn accepted(service: &OrderService) -> Order {
        let product = ProductRequest::new("p", "1".parse().unwrap(), 5, None).unwrap();
        let product = service.create_product(product).await.unwrap().id;
        let order = OrderRequest::one(product, Quantity::new(1).unwrap());
        service.accept(order).await.unwrap()
    }

    /// The order is stored: an error would make the client order again.
    #[tokio::test(start_paused = true)]
    async fn when_too_many_are_followed_the_accepted_order_is_answered_at_once() {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", HeaderValue::from_static("wait=5"));
        let wait = Wait::of(&headers);
        for (max_watched, waited_secs, applied) in [(0, 0, None), (1, 5, Some("wait=5"))] {
            let service = OrderService::builder(Arc::new(ReferenceStore::default()))
                .max_watched(max_watched)
                .build();
            let order = accepted(&service).await;
            let streams = EventStreams::new(1, CancellationToken::new());
            let follow = Follow::new(service, streams);
            let start = Instant::now();
            let (same, applied_as) = follow.decided(order.clone(), wait).await;
            assert_eq!((same, applied_as.as_deref()), (order, applied));
            assert_eq!(start.elapsed().as_secs(), waited_secs);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_shows_that_it_lives_and_ends_with_the_server() {
        let service = OrderService::builder(Arc::new(ReferenceStore::default())).build();
        let order = accepted(&service).await;
        let streams = EventStreams::new(1, CancellationToken::new());
        let follow = Follow::new(service.clone(), streams);
        let watch = service.watch(order.id).unwrap();
        let start = Instant::now();
        let anybody = Caller::AuthDisabled(UntilEnd::default());
        let states = States::new(Progress::from(&order), None, watch);
        let events = follow.stream(states, anybody, Account::Key(Uuid::nil()));
        let body = events.into_response().into_body().into_async_read();
        let mut lines = Box::pin(BufReader::new(body)).lines();
        let mut line = async || {
            let line = timeout(HEARTBEAT * 2, lines.next_line()).await;
            line.unwrap_or_else(|_| panic!("no sign of life")).unwrap()
        };
        assert_eq!(line().await.as_deref(), Some("id: pending"));
        assert!(line().await.unwrap().starts_with("data: {"));
        assert_eq!(line().await.as_deref(), Some(""));
        for beat in 1..=3 {
            assert_eq!(line().await.as_deref(), Some(":"));
            assert_eq!(line().await.as_deref(), Some(""));
            assert_eq!(start.elapsed().as_secs(), HEARTBEAT.as_secs() * beat);
        }
        follow.streams.stop().cancel();
        assert_eq!(line().await, None);
    }
}
