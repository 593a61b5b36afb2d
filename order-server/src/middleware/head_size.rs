//! Refuses requests whose head is larger than 16 KiB. The limit of hyper is larger, and its
//! answer says nothing: this one explains itself to clients that are somewhat above it.

use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result, http::StatusCode};

use crate::http::problem::Problem;

const MAX_HEAD_BYTES: usize = 1 << 14;

/// Refuses requests whose head is too large.
pub(super) struct HeadSize;

impl<E: Endpoint> Middleware<E> for HeadSize {
    type Output = HeadSizeEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        HeadSizeEndpoint { inner }
    }
}

pub(super) struct HeadSizeEndpoint<E> {
    inner: E,
}

impl<E: Endpoint> Endpoint for HeadSizeEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let path_and_query = request.uri().path_and_query();
        let target = path_and_query.map_or(0, |target| target.as_str().len());
        let headers = request.headers().iter();
        let headers: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if target + headers > MAX_HEAD_BYTES {
            let problem = Problem::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "request_header_fields_too_large",
                format!("path and headers are larger than {MAX_HEAD_BYTES} bytes"),
            );
            return Ok(problem.into_response());
        }
        Ok(self.inner.get_response(request).await)
    }
}
