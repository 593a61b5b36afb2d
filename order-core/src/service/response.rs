//! The response to a request that waits for its group.

use tokio::sync::oneshot;
use tracing::{Id, Level, Span, span_enabled};

use super::admission::Permit;
use crate::error::Error;

/// The response that a member of a group waits for.
pub(super) struct Response<T> {
    sender: oneshot::Sender<Result<T, Error>>,
    /// The span that it waits in, where traces are wanted.
    pub(super) span: Option<Id>,
    /// Its admission, until it is answered.
    pub(super) permit: Permit,
}

impl<T> Response<T> {
    /// One in the span that we are in, and what receives it.
    pub(super) fn new(permit: Permit) -> (Self, oneshot::Receiver<Result<T, Error>>) {
        let (sender, result) = oneshot::channel();
        let is_traced = span_enabled!(Level::DEBUG);
        let response = Self {
            sender,
            span: is_traced.then(|| Span::current().id()).flatten(),
            permit,
        };
        (response, result)
    }

    pub(super) fn send(self, result: Result<T, Error>) {
        // A caller that stopped waiting finds the order by asking for it.
        let _ = self.sender.send(result);
    }

    /// True when nobody waits for it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }
}
