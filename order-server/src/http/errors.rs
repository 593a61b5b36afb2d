//! What the framework has to say, in our words. A path that does not answer a method names
//! those that it answers (`Allow`, RFC 9110 §15.5.6).

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Middleware, PathPattern, Request, Response, Result,
    error::{MethodNotAllowedError, NotFoundError},
    http::{HeaderValue, header},
};

use super::{methods::Methods, problem::Problem};

/// Makes problems of errors.
pub(super) struct Errors {
    methods: Arc<Methods>,
}

impl Errors {
    pub(super) fn new(methods: Arc<Methods>) -> Self {
        Self { methods }
    }
}

impl<E: Endpoint> Middleware<E> for Errors {
    type Output = ErrorsEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        ErrorsEndpoint {
            inner,
            methods: Arc::clone(&self.methods),
        }
    }
}

pub(super) struct ErrorsEndpoint<E> {
    inner: E,
    methods: Arc<Methods>,
}

impl<E> ErrorsEndpoint<E> {
    fn answer(&self, error: poem::Error, path: &str) -> Response {
        let allowed = error
            .is::<MethodNotAllowedError>()
            .then(|| HeaderValue::try_from(self.methods.of(path)));
        // What leads nowhere below a route is none.
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

impl<E: Endpoint> Endpoint for ErrorsEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let uri = request.uri().clone();
        match self.inner.call(request).await {
            Ok(answer) => Ok(answer.into_response()),
            Err(error) => Ok(self.answer(error, uri.path())),
        }
    }
}
