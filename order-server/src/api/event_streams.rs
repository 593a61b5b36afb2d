//! Streams of events, for as long as the caller may see them and the server runs.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{BoxStream, Stream, StreamExt};
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;
use tokio_util::sync::CancellationToken;

use super::open_streams::OpenStreams;
use crate::{auth::Caller, http::account::Account};

/// The interval of comments while nothing happens, so that no proxy takes the connection for dead.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// What is streamed, each as an event.
pub(super) type Events<T> = EventStream<BoxStream<'static, T>>;

/// All event streams of a server.
#[derive(Clone)]
pub(super) struct EventStreams {
    open: Arc<OpenStreams>,
    stop: CancellationToken,
}

impl EventStreams {
    /// Each account may have up to `most` of them, until `stop` is cancelled.
    pub(super) fn new(most: usize, stop: CancellationToken) -> Self {
        Self {
            open: OpenStreams::new(most),
            stop,
        }
    }

    /// Is cancelled when the server stops.
    pub(super) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Streams what comes, until its end, until the caller may no longer see it or has too many
    /// streams, or until the server stops.
    pub(super) fn stream<T: Send + 'static>(
        &self,
        all: impl Stream<Item = T> + Send + 'static,
        to_event: fn(T) -> Event,
        caller: Caller,
        account: Account,
    ) -> Events<T> {
        let open = self.open.open(account);
        let end = open.end().cancelled_owned();
        let all = all.inspect(move |_| open.has_event());
        let all = all.take_until(end);
        let all = all.take_until(self.stop.clone().cancelled_owned());
        let all = all.take_until(caller.ended());
        EventStream::new(all.boxed())
            .to_event(to_event)
            .keep_alive(HEARTBEAT)
    }
}
