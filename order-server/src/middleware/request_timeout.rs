//! The time that a request may take, its body included.
//!
//! The time ends when the answer begins: an answer that streams may go on for as long as somebody
//! reads it. A client that is ready to wait (`Prefer: wait=30`, RFC 7240) gets that much more.
//! Changes that a request has begun run to their end when its time is over; only their answer
//! is lost.

use std::time::Duration;

use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use tokio::time::{Instant, timeout_at};

use crate::http::{deadline::BodyDeadline, prefer::Wait, problem::Problem};

/// A late body is noticed by its reader this much before the request as a whole is given up.
const BODY_MARGIN: Duration = Duration::from_millis(100);

/// Gives every request a deadline.
pub(super) struct RequestTimeout {
    limit: Duration,
}

impl RequestTimeout {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<E: Endpoint> Middleware<E> for RequestTimeout {
    type Output = RequestTimeoutEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        RequestTimeoutEndpoint {
            inner,
            limit: self.limit,
        }
    }
}

pub(super) struct RequestTimeoutEndpoint<E> {
    inner: E,
    limit: Duration,
}

impl<E: Endpoint> Endpoint for RequestTimeoutEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let wait = Wait::of(request.headers()).limit().unwrap_or_default();
        let deadline = Instant::now() + self.limit + wait;
        request.extensions_mut().insert(BodyDeadline(deadline));
        let answer = self.inner.get_response(request);
        Ok(timeout_at(deadline + BODY_MARGIN, answer)
            .await
            .unwrap_or_else(|_| {
                tracing::warn!("the request timed out");
                Problem::timeout().into_response()
            }))
    }
}
