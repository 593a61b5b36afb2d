//! Gives every request an id and its answer the header `X-Request-Id`: the client's own where it
//! sent one.

use std::sync::Arc;

use order_core::{
    clock::{Clock, SystemClock},
    domain::IdGenerator,
};
use poem::{
    Endpoint, IntoResponse, Middleware, Request, Response,
    http::{HeaderName, HeaderValue, StatusCode, Uri, uri::PathAndQuery},
};
use tracing::{Instrument, Span, error_span, field::Empty};

use super::{api_routes::ApiRoutes, request_trace};
use crate::http::public_path::ClientAddress;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// A client's id longer than this is replaced.
const MAX_LENGTH: usize = 128;

/// Names requests, writes them to the log, and trims a trailing slash off their paths.
pub(super) struct RequestId {
    ids: Arc<IdGenerator>,
    api_routes: Arc<ApiRoutes>,
}

impl RequestId {
    pub(super) fn new(api_routes: Arc<ApiRoutes>) -> Self {
        let ids = Arc::default();
        Self { ids, api_routes }
    }
}

impl<E: Endpoint> Middleware<E> for RequestId {
    type Output = RequestIdEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        RequestIdEndpoint {
            inner,
            ids: Arc::clone(&self.ids),
            api_routes: Arc::clone(&self.api_routes),
        }
    }
}

pub(super) struct RequestIdEndpoint<E> {
    inner: E,
    ids: Arc<IdGenerator>,
    api_routes: Arc<ApiRoutes>,
}

impl<E> RequestIdEndpoint<E> {
    fn id_of(&self, request: &Request) -> HeaderValue {
        match request.headers().get(HEADER) {
            Some(given) if given.len() <= MAX_LENGTH && given.to_str().is_ok() => given.clone(),
            _ => {
                let id = self.ids.next(SystemClock.now()).to_string();
                HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
            }
        }
    }
}

impl<E: Endpoint> Endpoint for RequestIdEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let id = self.id_of(&request);
        let span = span(&id);
        let trace = request_trace::begin(&span, &request);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let client = request.extensions().get::<ClientAddress>();
        let client = client.map(|client| tracing::field::display(client.0));
        trim_trailing_slash(&mut request);
        async {
            let mut response = self.inner.get_response(request).await.into_response();
            let status = response.status();
            // Overload refuses many requests; a line for each would make it worse.
            if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
                tracing::warn!(%method, path, client, status = status.as_u16(), "answered");
            } else {
                tracing::debug!(%method, path, client, status = status.as_u16(), "answered");
            }
            if let Some(trace) = trace {
                trace.end(&Span::current(), &response, &self.api_routes);
            }
            response.headers_mut().insert(HEADER, id);
            Ok(response)
        }
        .instrument(span)
        .await
    }
}

/// The span that adds the id to every line of the log for this request, at every level.
fn span(id: &HeaderValue) -> Span {
    let id = id.to_str().unwrap_or_default();
    error_span!("request", id, otel.kind = Empty)
}

fn trim_trailing_slash(request: &mut Request) {
    let path = request.uri().path();
    if path.len() < 2 || !path.ends_with('/') {
        return;
    }
    let trimmed = path.trim_end_matches('/');
    let trimmed = if trimmed.is_empty() { "/" } else { trimmed };
    let path_and_query = match request.uri().query() {
        Some(query) => format!("{trimmed}?{query}"),
        None => trimmed.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}
