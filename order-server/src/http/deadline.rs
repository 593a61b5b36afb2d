//! How long a request may take, its body included.
//!
//! What counts is the time until the answer begins: one that streams may go on for as long as
//! somebody reads it. A client that says that it is ready to wait (`Prefer: wait=30`, RFC
//! 7240) gets that much more. What a request has begun goes on when its time is over: changes
//! run to their end, and are only no longer told.

use std::{future::Future, time::Duration};

use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use tokio::time::{Instant, timeout_at};

use super::{prefer::Wait, problem::Problem};

/// A body that is late is noticed by whoever reads it, a moment before the request as a whole.
const MOMENT: Duration = Duration::from_millis(100);

/// When the body of a request has to be there.
#[derive(Clone, Copy)]
struct Deadline(Instant);

/// Waits for a part of the body, for as long as the request may take.
pub(super) async fn in_time<T>(
    request: &Request,
    part: impl Future<Output = T>,
) -> Result<T, Problem> {
    match request.extensions().get() {
        Some(Deadline(deadline)) => timeout_at(*deadline, part)
            .await
            .map_err(|_| Problem::late_body()),
        None => Ok(part.await),
    }
}

/// Gives every request a deadline.
pub(super) struct Limit {
    limit: Duration,
}

impl Limit {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<E: Endpoint> Middleware<E> for Limit {
    type Output = LimitEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        LimitEndpoint {
            inner,
            limit: self.limit,
        }
    }
}

pub(super) struct LimitEndpoint<E> {
    inner: E,
    limit: Duration,
}

impl<E: Endpoint> Endpoint for LimitEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let wait = Wait::of(request.headers()).limit().unwrap_or_default();
        let deadline = Instant::now() + self.limit + wait;
        request.extensions_mut().insert(Deadline(deadline));
        let answer = self.inner.get_response(request);
        Ok(timeout_at(deadline + MOMENT, answer)
            .await
            .unwrap_or_else(|_| {
                tracing::warn!("not done in time");
                Problem::late().into_response()
            }))
    }
}
