//! The body of an answer. Its request is active until all of it is sent, however long it streams,
//! and it knows since when the peer takes nothing of it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::delivery::Delivery;

/// A body that keeps its request active until it is dropped, and its chunks are.
pub(super) struct TrackedBody<B> {
    body: B,
    delivery: Arc<Delivery>,
}

impl<B> TrackedBody<B> {
    pub(super) fn new(body: B, delivery: Delivery) -> Self {
        Self {
            body,
            delivery: Arc::new(delivery),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TrackedBody<B> {
    type Data = Chunk;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let gave_chunk = matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_data());
        self.delivery.asked(gave_chunk);
        let chunk = |bytes| Chunk {
            bytes,
            delivery: Arc::clone(&self.delivery),
        };
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of a body, which is kept until it is written to the connection.
pub(super) struct Chunk {
    bytes: Bytes,
    delivery: Arc<Delivery>,
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.delivery.taken();
        self.bytes.advance(count);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.delivery.sent();
    }
}
