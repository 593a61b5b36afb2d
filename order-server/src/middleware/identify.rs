//! Finds out who sent a request, before anything else is done for it.

use std::sync::Arc;

use order_core::audit;
use poem::{Endpoint, Middleware, Request, Result, http::header};

use crate::auth::KeyCache;

/// Puts the [`Caller`](crate::auth::Caller) into each request, and carries it out in their name.
pub(super) struct Identify {
    keys: Arc<KeyCache>,
}

impl Identify {
    pub(super) fn new(keys: Arc<KeyCache>) -> Self {
        Self { keys }
    }
}

impl<E: Endpoint> Middleware<E> for Identify {
    type Output = IdentifyEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        IdentifyEndpoint {
            inner,
            keys: Arc::clone(&self.keys),
        }
    }
}

pub(super) struct IdentifyEndpoint<E> {
    inner: E,
    keys: Arc<KeyCache>,
}

impl<E: Endpoint> Endpoint for IdentifyEndpoint<E> {
    type Output = E::Output;

    async fn call(&self, mut request: Request) -> Result<E::Output> {
        let caller = self.keys.caller(bearer(&request));
        let author = caller.author();
        request.extensions_mut().insert(caller);
        audit::by(author, self.inner.call(request)).await
    }
}

/// The token after `Bearer`, whose case does not matter (RFC 9110 §11.1).
fn bearer(request: &Request) -> Option<&str> {
    let authorization = request.headers().get(header::AUTHORIZATION)?;
    let (scheme, shown) = authorization.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| shown.trim_matches(' '))
}
