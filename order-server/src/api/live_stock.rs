//! Watches a product: its price, stock and window, as they change.
//!
//! The id of an event is the version of the product. An event tells all that there is to know, so
//! that a client misses nothing by getting the newest one alone.

use std::time::Duration;

use futures_util::stream;
use order_core::{
    OrderService,
    domain::ProductId,
    watch::{LiveProduct, ProductWatch},
};
use poem::web::{Data, sse::Event};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    event_streams::{EventStreams, Events},
    product_body::LiveBody,
    tag::Tag,
};
use crate::{
    auth::{Caller, ReadProducts},
    http::{account::Account, problem::Problem},
};

/// The least time between two events of a stream: there are five a second at most.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(ApiResponse)]
enum Watched {
    /// The product as it is, unless `Last-Event-ID` is its version, and as it changes, until it is
    /// archived
    #[oai(status = 200)]
    Events(Events<LiveBody>),
}

/// Watches products, for as long as the server runs.
pub struct LiveStock {
    service: OrderService,
    streams: EventStreams,
}

impl LiveStock {
    pub(super) const fn new(service: OrderService, streams: EventStreams) -> Self {
        Self { service, streams }
    }
}

#[OpenApi(tag = "Tag::Products")]
impl LiveStock {
    /// Watch a product: an event with its price, stock and terms when they change, at most five a
    /// second; what changes more often is told as it is then
    #[oai(
        path = "/products/:id/events",
        method = "get",
        operation_id = "watchProduct"
    )]
    async fn events(
        &self,
        _reader: ReadProducts,
        caller: Data<&Caller>,
        account: Data<&Account>,
        id: Path<Uuid>,
        /// The last version that the client saw: the stream begins with the next one
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<Watched, Problem> {
        let id = ProductId(id.0);
        // What the stream tells comes from the watch alone, which is never behind the cache. The read
        // tells whether there is anything to watch.
        let watch = self.service.watch_product(id)?;
        let product = self.service.product(id).await?;
        product.ok_or_else(|| Problem::product_not_found(id.0))?;
        let versions = Versions {
            watch,
            sent: last_event_id.0.and_then(|version| version.parse().ok()),
            next_at: Instant::now(),
        };
        let events = stream::unfold(versions, Versions::next);
        let (caller, account) = (caller.0.clone(), *account.0);
        let events = self.streams.stream(events, event, caller, account);
        Ok(Watched::Events(events))
    }
}

/// The versions of a product that a client still has to get.
struct Versions {
    watch: ProductWatch,
    sent: Option<i64>,
    next_at: Instant,
}

impl Versions {
    /// The next version; ends when the product is archived.
    async fn next(mut self) -> Option<(LiveBody, Self)> {
        sleep_until(self.next_at).await;
        let product: LiveProduct = self.watch.changed(self.sent).await.ok()??;
        self.sent = Some(product.version);
        self.next_at = Instant::now() + PAUSE;
        Some((product.into(), self))
    }
}

fn event(product: LiveBody) -> Event {
    // It has only ids, numbers, amounts and times, which JSON can always express.
    let data = serde_json::to_string(&product).unwrap_or_default();
    Event::message(data).id(product.version.to_string())
}
