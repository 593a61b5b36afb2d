//! What browsers are told with every answer: to take it for what it says it is, to show it in
//! no frame, to tell nobody where a link was followed from, and not to keep it. An answer
//! with an `ETag` may be kept, and has to be asked about each time.

use poem::{
    Endpoint, Middleware, Request, Response, Result,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};

/// The policy of a page that does not bring its own.
pub(super) const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What is the same for all answers.
const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
];

/// Tells browsers to be careful.
pub(super) struct Security;

impl<E: Endpoint<Output = Response>> Middleware<E> for Security {
    type Output = SecurityEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        SecurityEndpoint { inner }
    }
}

pub(super) struct SecurityEndpoint<E> {
    inner: E,
}

impl<E: Endpoint<Output = Response>> Endpoint for SecurityEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let mut response = self.inner.get_response(request).await;
        secure(response.headers_mut());
        Ok(response)
    }
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if is_page(headers) {
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(NOTHING);
    }
    let keep = if headers.contains_key(header::ETAG) {
        "private, no-cache"
    } else {
        "no-store"
    };
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static(keep));
}

fn is_page(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}
