//! Lets the pages of other origins use the API from a browser (the Fetch standard's CORS), where
//! `CORS_ORIGINS` names them.
//!
//! The middleware of poem refuses whatever comes from an origin that is not named, and that
//! includes the pages of this server, whose browsers name their origin, too. Here such
//! requests are served like any other, and the browser keeps the answer from pages that may not
//! have it.

use std::{collections::HashSet, sync::Arc};

use poem::{
    Endpoint, Middleware, Request, Response, Result,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// The headers that a page may send besides those that need no permission.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, prefer, \
     traceparent, x-request-id",
);
/// The headers that a page may read besides those that need no permission.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, idempotent-replayed, location, preference-applied, ratelimit, ratelimit-policy, retry-after, x-cache, \
     x-request-id",
);
/// The time for which a browser may reuse the answer to a preflight.
const MAX_AGE_SECS: HeaderValue = HeaderValue::from_static("600");
const ORIGIN: HeaderValue = HeaderValue::from_static("origin");

/// Lets pages of the named origins use the API.
pub(super) struct Cors {
    origins: Arc<HashSet<HeaderValue>>,
}

impl Cors {
    pub(super) fn new(origins: Arc<HashSet<HeaderValue>>) -> Self {
        Self { origins }
    }
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Cors {
    type Output = CorsEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        CorsEndpoint {
            inner,
            origins: Arc::clone(&self.origins),
        }
    }
}

pub(super) struct CorsEndpoint<E> {
    inner: E,
    origins: Arc<HashSet<HeaderValue>>,
}

impl<E: Endpoint<Output = Response>> Endpoint for CorsEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if self.origins.is_empty() {
            return self.inner.call(request).await;
        }
        let origin = request.headers().get(header::ORIGIN);
        let origin = origin.and_then(|origin| self.origins.get(origin));
        let mut response = match origin {
            Some(_) if is_preflight(&request) => preflight(),
            _ => self.inner.get_response(request).await,
        };
        let headers = response.headers_mut();
        // Also where the origin is not named, so that no cache gives this answer to another origin.
        headers.append(header::VARY, ORIGIN);
        if let Some(origin) = origin {
            allow(headers, origin);
        }
        Ok(response)
    }
}

/// A browser asks whether the page may send the request that follows.
fn is_preflight(request: &Request) -> bool {
    let asked = request.headers();
    request.method() == Method::OPTIONS && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response {
    let mut response = Response::from(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECS);
    response
}

fn allow(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
}
