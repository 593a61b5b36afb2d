//! Following an order: waiting for its decision, and the stream of its states.
//!
//! An event is named by its state: an order comes to each at most once, so that the last one
//! that a client saw says which are still to be told, whatever happened in between.

use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use order_core::{
    Error, OrderService,
    domain::{Order, OrderId, OrderStatus, Progress, Stage},
    watch::Watch,
};
use poem::web::sse::Event;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
    payload::EventStream,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Tag, order_body::StatusBody};
use crate::{
    auth::ReadOrders,
    http::{prefer::Wait, problem::Problem},
};

/// How often a comment is sent when nothing happens, so that whoever stands between does not
/// take the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Events = EventStream<BoxStream<'static, StatusBody>>;

#[derive(ApiResponse)]
enum Followed {
    /// The states of the order, from the one that it is in, or from the one after
    /// `Last-Event-ID`
    #[oai(status = 200)]
    Events(Events),
    /// Its final state is what the client saw last: there is no need to come again
    #[oai(status = 204)]
    Nothing,
}

/// Follows orders, for as long as the server runs.
#[derive(Clone)]
pub struct Follow {
    service: OrderService,
    stop: CancellationToken,
}

impl Follow {
    pub(super) fn new(service: OrderService, stop: CancellationToken) -> Self {
        Self { service, stop }
    }

    /// The order as it is when it is decided, or else as given, and what was granted. Waiting
    /// is a favour: an order that was accepted stays so, whatever goes wrong meanwhile.
    pub(super) async fn decided(&self, order: Order, wait: Wait) -> (Order, Option<String>) {
        let Some(limit) = wait.limit() else {
            return (order, None);
        };
        let decided = self.service.wait_for_decision(&order, limit);
        match self.stop.run_until_cancelled(decided).await {
            Some(Ok(decided)) => (decided.unwrap_or(order), wait.applied()),
            Some(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "nobody is waited for"
                );
                (order, None)
            }
            None => (order, None),
        }
    }

    /// What is still to be told, until a final state, or until the server stops.
    fn stream(&self, states: States) -> Events {
        let states = stream::unfold(states, States::next);
        let states = states.take_until(self.stop.clone().cancelled_owned());
        EventStream::new(states.boxed())
            .to_event(event)
            .keep_alive(HEARTBEAT)
    }
}

#[OpenApi(tag = "Tag::Orders")]
impl Follow {
    /// Follow an order: an event for each state that it comes to, until a final one
    #[oai(
        path = "/orders/:id/events",
        method = "get",
        operation_id = "followOrder"
    )]
    async fn events(
        &self,
        _caller: ReadOrders,
        id: Path<Uuid>,
        /// The state that the client was told last: those after it follow
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<Followed, Problem> {
        let id = OrderId(id.0);
        // The watch begins first: what the order comes to after it is read is seen by it.
        let watch = self.service.watch(id)?;
        let order = self.service.order(id).await?;
        let order = order.ok_or_else(|| Problem::order_not_found(id.0))?;
        let told = last_event_id.0.and_then(|told| told.parse().ok());
        let states = States::of(Progress::from(&order), told, watch);
        if states.are_told() {
            return Ok(Followed::Nothing);
        }
        Ok(Followed::Events(self.stream(states)))
    }
}

/// The states of an order that are still to be told.
struct States {
    order: Progress,
    told: Option<OrderStatus>,
    untold: Vec<Stage>,
    watch: Watch,
}

impl States {
    fn of(order: Progress, told: Option<OrderStatus>, watch: Watch) -> Self {
        let told = told.filter(|told| order.stages().iter().any(|stage| stage.status == *told));
        let untold = told.map_or_else(|| vec![order.stage()], |told| order.since(told));
        Self {
            order,
            told,
            untold,
            watch,
        }
    }

    fn are_told(&self) -> bool {
        self.untold.is_empty() && self.told.is_some_and(OrderStatus::is_final)
    }

    /// The next state; ends after a final one.
    async fn next(mut self) -> Option<(StatusBody, Self)> {
        if self.are_told() {
            return None;
        }
        if self.untold.is_empty() {
            (self.order, self.untold) = self.more().await.ok()?;
        }
        let stage = self.untold.remove(0);
        self.told = Some(stage.status);
        Some((StatusBody::at(&self.order, stage), self))
    }

    async fn more(&mut self) -> Result<(Progress, Vec<Stage>), Error> {
        self.watch
            .since(self.told.unwrap_or(self.order.status))
            .await
    }
}

fn event(state: StatusBody) -> Event {
    let id = OrderStatus::from(state.status);
    // Ids, names and times are all there is in it: JSON has words for these.
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

    use super::*;

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
            let follow = Follow::new(service, CancellationToken::new());
            let start = Instant::now();
            let (same, told) = follow.decided(order.clone(), wait).await;
            assert_eq!((same, told.as_deref()), (order, applied));
            assert_eq!(start.elapsed().as_secs(), waited_secs);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_shows_that_it_lives_and_ends_with_the_server() {
        let service = OrderService::builder(Arc::new(ReferenceStore::default())).build();
        let order = accepted(&service).await;
        let follow = Follow::new(service.clone(), CancellationToken::new());
        let watch = service.watch(order.id).unwrap();
        let start = Instant::now();
        let events = follow.stream(States::of(Progress::from(&order), None, watch));
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
        follow.stop.cancel();
        assert_eq!(line().await, None);
    }
}
