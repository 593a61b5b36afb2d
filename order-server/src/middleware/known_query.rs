//! Refuses what an operation does not know in the query of its URL, and what is given twice, by
//! name. A client that misspells `cursor` would otherwise read the first page for ever.
//!
//! An operation that needs a key refuses it itself, once it knows that the caller may call it:
//! strangers are told nothing but that they are.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use url::form_urlencoded;

use super::api_routes::{ApiRoutes, Parameter};
use crate::http::problem::{Problem, QueryProblem};

/// Checks the names in the query of each request.
pub(super) struct KnownQuery {
    api_routes: Arc<ApiRoutes>,
}

impl KnownQuery {
    pub(super) fn new(api_routes: Arc<ApiRoutes>) -> Self {
        Self { api_routes }
    }
}

impl<E: Endpoint<Output = Response>> Middleware<E> for KnownQuery {
    type Output = KnownQueryEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        KnownQueryEndpoint {
            inner,
            api_routes: Arc::clone(&self.api_routes),
        }
    }
}

pub(super) struct KnownQueryEndpoint<E> {
    inner: E,
    api_routes: Arc<ApiRoutes>,
}

impl<E: Endpoint<Output = Response>> Endpoint for KnownQueryEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let query = request.uri().query().unwrap_or_default();
        let path = request.uri().path();
        if !query.is_empty()
            && let Some(operation) = self.api_routes.operation(path, request.method().as_str())
            && let Err(problem) = check(query, &operation.parameters)
        {
            if !operation.needs_key {
                return Ok(problem.into_response());
            }
            request.extensions_mut().insert(QueryProblem(problem));
        }
        self.inner.call(request).await
    }
}

fn check(query: &str, known: &[Parameter]) -> Result<(), Problem> {
    let mut given = Vec::with_capacity(known.len());
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        let is_known = |one: &Parameter| one.is_in_query && one.name == name;
        if !known.iter().any(is_known) {
            return Err(Problem::invalid(&name, "is unknown"));
        }
        if given.contains(&name) {
            return Err(Problem::invalid(&name, "is given twice"));
        }
        given.push(name);
    }
    Ok(())
}
