//! Makes problems of the framework's errors. A path that does not answer a method names those
//! that it answers (`Allow`, RFC 9110 §15.5.6).

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Middleware, PathPattern, Request, Response, Result,
    error::{MethodNotAllowedError, NotFoundError},
    http::{HeaderValue, Method, header},
};
use poem_openapi::error::{ParseParamError, ParsePathError};

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
    fn answer(&self, error: poem::Error, path: &str, method: &Method) -> Response {
        let allowed = error
            .is::<MethodNotAllowedError>()
            .then(|| HeaderValue::try_from(self.api_routes.methods(path)));
        // A path that leads nowhere below a route has no route.
        let route = error.data::<PathPattern>().cloned();
        let route = route.filter(|_| !error.is::<NotFoundError>());
        let parameter = self.parameter(&error, path, method);
        let mut response =
            parameter.map_or_else(|| Problem::from_poem(error), IntoResponse::into_response);
        if let Some(Ok(allowed)) = allowed {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        if let Some(route) = route {
            response.set_data(route);
        }
        response
    }

    /// The problem with a parameter, in the words of its description: the framework tells the types
    /// of the program.
    fn parameter(&self, error: &poem::Error, path: &str, method: &Method) -> Option<Problem> {
        let described = self.api_routes.parameters(path, method.as_str());
        let described = described.unwrap_or_default();
        if let Some(wrong) = error.downcast_ref::<ParseParamError>() {
            let known = described.iter().find(|one| one.name == wrong.name);
            let words = known.map_or("is not as it is described", |one| &one.words);
            return Some(Problem::invalid(wrong.name, words));
        }
        // It has a name of the framework. All paths have one parameter.
        error.downcast_ref::<ParsePathError>()?;
        let id = described.iter().find(|one| one.is_in_path)?;
        let words = id.words.replacen("must be", "in the path is not", 1);
        Some(Problem::malformed(format!("{} {words}", id.name)))
    }
}

impl<E: Endpoint> Endpoint for ErrorResponsesEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let (uri, method) = (request.uri().clone(), request.method().clone());
        match self.inner.call(request).await {
            Ok(answer) => Ok(answer.into_response()),
            Err(error) => Ok(self.answer(error, uri.path(), &method)),
        }
    }
}
