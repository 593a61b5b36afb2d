//! The time that a request may take, its body included.
//!
//! The time ends when the answer begins: an answer that streams may go on for as long as somebody
//! reads it. A client that is ready to wait (`Prefer: wait=30`, RFC 7240) gets that much more for
//! operations that know this preference; its body has to be there in time all the same.
//! Changes that a request has begun run to their end when its time is over; only their answer
//! is lost.

use std::{sync::Arc, time::Duration};

use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use tokio::time::{Instant, timeout_at};

use super::api_routes::ApiRoutes;
use crate::http::{
    account::Account, body_budget::Reservation, deadline::BodyDeadline, prefer::Wait,
    problem::Problem,
};

/// A late body is noticed by its reader this much before the request as a whole is given up.
const BODY_MARGIN: Duration = Duration::from_millis(100);

/// Gives every request a deadline.
pub(super) struct RequestTimeout {
    limit: Duration,
    api_routes: Arc<ApiRoutes>,
}

impl RequestTimeout {
    pub(super) fn new(limit: Duration, api_routes: Arc<ApiRoutes>) -> Self {
        Self { limit, api_routes }
    }
}

impl<E: Endpoint> Middleware<E> for RequestTimeout {
    type Output = RequestTimeoutEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        RequestTimeoutEndpoint {
            inner,
            limit: self.limit,
            api_routes: Arc::clone(&self.api_routes),
        }
    }
}

pub(super) struct RequestTimeoutEndpoint<E> {
    inner: E,
    limit: Duration,
    api_routes: Arc<ApiRoutes>,
}

impl<E> RequestTimeoutEndpoint<E> {
    /// The time that the client is ready to wait, where that means something.
    fn wait(&self, request: &Request) -> Duration {
        let Some(wait) = Wait::of(request.headers()).limit() else {
            return Duration::ZERO;
        };
        let (path, method) = (request.uri().path(), request.method().as_str());
        let known = self.api_routes.parameters(path, method);
        let means_something = known
            .unwrap_or_default()
            .iter()
            .any(|one| one.name == "Prefer");
        if means_something {
            wait
        } else {
            Duration::ZERO
        }
    }
}

impl<E: Endpoint> Endpoint for RequestTimeoutEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let body_deadline = Instant::now() + self.limit;
        let deadline = body_deadline + self.wait(&request);
        let extensions = request.extensions_mut();
        extensions.insert(BodyDeadline(body_deadline));
        if let Some(account) = extensions.get::<Account>().copied() {
            extensions.insert(Reservation::new(account));
        }
        let answer = self.inner.get_response(request);
        Ok(timeout_at(deadline + BODY_MARGIN, answer)
            .await
            .unwrap_or_else(|_| {
                tracing::warn!("the request timed out");
                Problem::timeout().into_response()
            }))
    }
}
