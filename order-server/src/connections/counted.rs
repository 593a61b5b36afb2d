//! An answer whose request lasts until all of it is sent, also one that streams for long.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Frame, SizeHint};

use super::pulse::Beat;

/// A body that counts as a request in flight until it is dropped.
pub(super) struct Counted<B> {
    body: B,
    _beat: Beat,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, beat: Beat) -> Self {
        Self { body, _beat: beat }
    }
}

impl<B: Body + Unpin> Body for Counted<B> {
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
