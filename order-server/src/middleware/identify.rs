//! Finds out who sent a request, before anything else is done for it.

use std::{net::Ipv4Addr, sync::Arc};

use order_core::audit;
use poem::{Endpoint, Middleware, Request, Result, http::header};

use crate::{
    auth::{Caller, KeyCache},
    http::{account::Account, public_path::ClientAddress},
};

/// Puts the [`Caller`], and the [`Account`] that pays for it, into each request, and carries it out in
/// the name of the caller.
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
        let account = account(&request, &caller);
        let author = caller.author();
        let extensions = request.extensions_mut();
        extensions.insert(caller);
        extensions.insert(account);
        audit::by(author, self.inner.call(request)).await
    }
}

fn account(request: &Request, caller: &Caller) -> Account {
    if let Caller::Key(key) = caller {
        return Account::Key(key.key.id.0);
    }
    let address = request.extensions().get::<ClientAddress>();
    Account::of_address(address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.0))
}

/// The token after `Bearer`, whose case does not matter (RFC 9110 §11.1).
fn bearer(request: &Request) -> Option<&str> {
    let authorization = request.headers().get(header::AUTHORIZATION)?;
    let (scheme, shown) = authorization.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| shown.trim_matches(' '))
}
