//! The response to a request that waits for its group.

use tokio::sync::oneshot;
use tracing::Id;

use super::admission::Permit;
use crate::{
    domain::{Order, Replayable},
    error::Error,
};

/// The response that a member of a group waits for.
pub(super) struct Response {
    pub(super) sender: oneshot::Sender<Result<Replayable<Order>, Error>>,
    /// The span that it waits in, where traces are wanted.
    pub(super) span: Option<Id>,
    /// Its admission, until it is answered.
    pub(super) permit: Permit,
}

impl Response {
    pub(super) fn send(self, result: Result<Replayable<Order>, Error>) {
        // A caller that stopped waiting finds the order by asking for it.
        let _ = self.sender.send(result);
    }

    /// True when nobody waits for it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }
}
