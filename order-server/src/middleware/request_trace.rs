//! The trace of a request, when there is a collector: it continues the caller's (`traceparent`,
//! W3C Trace Context), and has the attributes that OpenTelemetry names for HTTP servers.

use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{Status, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use poem::{
    PathPattern, Request, Response,
    http::{HeaderMap, Method, Uri},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{api_routes::ApiRoutes, request_metrics::method_name};
use crate::telemetry::is_traced;

/// The parts of a request that its trace needs at its end.
pub(super) struct Trace {
    method: Method,
    uri: Uri,
}

/// Begins the trace of a request in `span`, unless traces go nowhere.
pub(super) fn begin(span: &Span, request: &Request) -> Option<Trace> {
    if !is_traced() {
        return None;
    }
    span.record("otel.kind", "server");
    let caller = TraceContextPropagator::new().extract(&Headers(request.headers()));
    // Refused only by a span that is not traced.
    let _ = span.set_parent(caller);
    Some(Trace {
        method: request.method().clone(),
        uri: request.uri().clone(),
    })
}

impl Trace {
    /// Records the answer.
    pub(super) fn end(self, span: &Span, response: &Response, api_routes: &ApiRoutes) {
        let (path, method) = (self.uri.path(), method_name(&self.method));
        let matched = response.data::<PathPattern>();
        let route = api_routes.route(path, matched.map(|pattern| &*pattern.0));
        span.set_attribute("http.request.method", method);
        span.set_attribute("http.route", route.to_owned());
        let status = response.status();
        span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
        // A field that is recorded later does not change the name of a span that is begun.
        span.context()
            .span()
            .update_name(format!("{method} {route}"));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
