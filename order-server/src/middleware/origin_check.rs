//! Keeps the pages of strangers from using this server through the browser of somebody who can
//! reach it.
//!
//! A browser sends what any page asks it to send, also to the machine that it runs on. Two ways
//! lead from there to this server, and both are closed here:
//!
//! - A page sends an unsafe request across sites: a form, or a script that does not need the
//!   answer. Browsers say so in `Origin` and `Sec-Fetch-Site`, which no page can change. Such a
//!   request is refused (403), with keys and without, unless `CORS_ORIGINS` names its origin.
//! - A site makes its own name lead to this machine, so that the browser takes its page and this
//!   server for one site ("DNS rebinding"). The name still stands in `Host`. A server without
//!   keys serves requests only that call it by a name of the loopback, or by one of
//!   `ALLOWED_HOSTS`; it refuses all others (421).
//!
//! Programs that are no browsers send neither header, and are served as before.

use std::{collections::HashSet, sync::Arc};

use poem::{
    Endpoint, Middleware, Request, Response, Result,
    http::{HeaderMap, HeaderName, HeaderValue, Version, header, uri::Authority},
};

use crate::{auth::Caller, config::AllowedHost, http::problem::Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins whose pages may send unsafe requests, and the names of the server.
struct Rules {
    origins: Arc<HashSet<HeaderValue>>,
    hosts: Vec<AllowedHost>,
}

/// Refuses what the pages of strangers send. It needs the [`Caller`], who says whether there
/// are keys.
pub(super) struct OriginCheck {
    rules: Arc<Rules>,
}

impl OriginCheck {
    pub(super) fn new(origins: Arc<HashSet<HeaderValue>>, hosts: Vec<AllowedHost>) -> Self {
        Self {
            rules: Arc::new(Rules { origins, hosts }),
        }
    }
}

impl<E: Endpoint<Output = Response>> Middleware<E> for OriginCheck {
    type Output = OriginCheckEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        OriginCheckEndpoint {
            inner,
            rules: Arc::clone(&self.rules),
        }
    }
}

pub(super) struct OriginCheckEndpoint<E> {
    inner: E,
    rules: Arc<Rules>,
}

impl<E: Endpoint<Output = Response>> Endpoint for OriginCheckEndpoint<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        self.rules.check(&request)?;
        self.inner.call(request).await
    }
}

impl Rules {
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let called = authority(request)?;
        let is_open = matches!(request.extensions().get(), Some(Caller::AuthDisabled(_)));
        // Before HTTP/1.1, a client need not say what it calls the server; every browser does.
        if is_open && called.as_ref().is_some_and(|name| !self.answers_to(name)) {
            return Err(Problem::misdirected());
        }
        if !request.method().is_safe() && !self.may_send(request.headers(), called.as_ref()) {
            return Err(Problem::foreign_origin());
        }
        Ok(())
    }

    /// Tells whether `name` is one of an open server's own names.
    fn answers_to(&self, name: &Authority) -> bool {
        AllowedHost::is_loopback(name) || self.hosts.iter().any(|host| host.includes(name))
    }

    /// Tells whether an unsafe request may be carried out: no page sent it, or a page of this
    /// server or of a named origin did.
    fn may_send(&self, headers: &HeaderMap, called: Option<&Authority>) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) if self.origins.contains(origin) => true,
            (Some(origin), None) => {
                is_own(origin, called)
                    && headers
                        .get(SEC_FETCH_SITE)
                        .is_none_or(|site| site != "cross-site")
            }
            (Some(_), Some(_)) => false,
            (None, _) => headers
                .get_all(SEC_FETCH_SITE)
                .iter()
                .all(|site| site != "cross-site"),
        }
    }
}

/// The name by which a request calls this server: the authority of its target, or else its only `Host`
/// (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn authority(request: &Request) -> Result<Option<Authority>, Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Problem::malformed("Host is given more than once")),
        (host, _) => host,
    };
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.clone()));
    }
    match host {
        Some(host) => Authority::try_from(host.as_bytes())
            .ok()
            .filter(|authority| !authority.as_str().contains('@'))
            .map(Some)
            .ok_or_else(|| {
                Problem::malformed("Host is not a name or an address, with or without a port")
            }),
        None if request.version() == Version::HTTP_11 => Err(Problem::malformed("Host is missing")),
        None => Ok(None),
    }
}

/// Tells whether `origin` is that of a page of this server, which the request calls `called`.
/// Behind a proxy that ends TLS the schemes differ, so that each stands for its usual port only.
fn is_own(origin: &HeaderValue, called: Option<&Authority>) -> bool {
    let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
    let (Some((scheme, origin)), Some(called)) = (origin, called) else {
        return false;
    };
    let Ok(origin) = origin.parse::<Authority>() else {
        return false;
    };
    let usual_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(usual_port);
    origin.host().eq_ignore_ascii_case(called.host()) && port(&origin) == port(called)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_this_server_is_told_by_name_and_port() {
        let is_own = |origin: &'static str, called: &str| {
            let called: Authority = called.parse().unwrap();
            is_own(&HeaderValue::from_static(origin), Some(&called))
        };
        for (origin, called) in [
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://localhost", "localhost:80"),
            ("https://shop.example", "Shop.example"),
            ("https://shop.example", "shop.example:443"),
            ("http://[::1]:8000", "[::1]:8000"),
        ] {
            assert!(is_own(origin, called), "{origin} {called}");
        }
        for (origin, called) in [
            ("null", "127.0.0.1:8000"),
            ("http://localhost:3000", "localhost:8000"),
            ("http://localhost:8000", "127.0.0.1:8000"),
            ("https://shop.example.evil.example", "shop.example"),
            ("https://evil.example", "shop.example"),
            ("file://", "shop.example"),
            ("chrome-extension://shop.example", "shop.example"),
        ] {
            assert!(!is_own(origin, called), "{origin} {called}");
        }
    }
}
