//! Traces, as OpenTelemetry knows them (feature `otel`): the trace of a request goes on where
//! its order is worked on. Without the feature, there are none.

use tracing::Span;

use crate::domain::TraceParent;

/// The span that we are in, if it is in a trace.
#[cfg(feature = "otel")]
pub(crate) fn current() -> Option<TraceParent> {
    use opentelemetry::trace::TraceContextExt;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| TraceParent {
        trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(span.span_id().to_bytes()),
        flags: span.trace_flags().to_u8(),
    })
}

/// Notes the status that somebody elsewhere answered, in the span that we are in.
#[cfg(feature = "webhook")]
pub(crate) fn answered(status: u16) {
    Span::current().record("http.response.status_code", i64::from(status));
}

/// Notes that what the span that we are in is about has failed.
pub(crate) fn failed(reason: &str) {
    let span = Span::current();
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", reason);
}

/// Makes `span`, which nobody has entered yet, a part of the trace of `parent`.
#[cfg(feature = "otel")]
pub(crate) fn go_on(span: &Span, parent: TraceParent) {
    use opentelemetry::{
        Context, SpanId, TraceFlags, TraceId,
        trace::{SpanContext, TraceContextExt, TraceState},
    };
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let parent = SpanContext::new(
        TraceId::from_bytes(parent.trace_id.to_be_bytes()),
        SpanId::from_bytes(parent.span_id.to_be_bytes()),
        TraceFlags::new(parent.flags),
        true,
        TraceState::default(),
    );
    // Refused only by a span that is not traced.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

#[cfg(not(feature = "otel"))]
pub(crate) const fn current() -> Option<TraceParent> {
    None
}

#[cfg(not(feature = "otel"))]
pub(crate) const fn go_on(_span: &Span, _parent: TraceParent) {}
