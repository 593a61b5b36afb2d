//! Makes problems of the framework's errors. A path that does not answer a method names those
//! that it answers (`Allow`, RFC 9110 §15.5.6).

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Middleware, PathPattern, Request, Response, Result,
    error::{MethodNotAllowedError, NotFoundError},
    http::{HeaderValue, header},
};

use super::api_routes::ApiRoutes;
use crate::http::problem::Problem;

/// Makes problems of errors.
pub(super) struct ErrorResponses {
    api_routes: Arc<ApiRoutes>,
}

impl ErrorResponses {
    pub(super) fn new(api_routes: Arc<ApiRoutes>) -> Self {
        Self { api_routes }
    }
}

impl<E: Endpoint> Middleware<E> for ErrorResponses {
    type Output = ErrorResponsesEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        ErrorResponsesEndpoint {
            inner,
            api_routes: Arc::clone(&self.api_routes),
        }
    }
}

pub(super) struct ErrorResponsesEndpoint<E> {
    inner: E,
    api_routes: Arc<ApiRoutes>,
}

impl<E> ErrorResponsesEndpoint<E> {
    fn answer(&self, error: poem::Error, path: &str) -> Response {
        let allowed = error
            .is::<MethodNotAllowedError>()
            .then(|| HeaderValue::try_from(self.api_routes.methods(path)));
        // A path that leads nowhere below a route has no route.
        let route = error.data::<PathPattern>().cloned();
        let route = route.filter(|_| !error.is::<NotFoundError>());
        let mut response = Problem::from_poem(error);
        if let Some(Ok(allowed)) = allowed {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        if let Some(route) = route {
            response.set_data(route);
        }
        response
    }
}

impl<E: Endpoint> Endpoint for ErrorResponsesEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let uri = request.uri().clone();
        match self.inner.call(request).await {
            Ok(answer) => Ok(answer.into_response()),
            Err(error) => Ok(self.answer(error, uri.path())),
        }
    }
}
