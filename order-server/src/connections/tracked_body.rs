//! The body of an answer. Its request is active until all of it is sent, however long it streams.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Frame, SizeHint};

use super::activity::ActiveRequest;

/// A body that keeps its request active until it is dropped.
pub(super) struct TrackedBody<B> {
    body: B,
    _active: ActiveRequest,
}

impl<B> TrackedBody<B> {
    pub(super) fn new(body: B, active: ActiveRequest) -> Self {
        Self {
            body,
            _active: active,
        }
    }
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
