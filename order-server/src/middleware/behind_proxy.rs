//! What a proxy in front changes: the address of the client, and the path below which the server is
//! published.
//!
//! A trusted proxy adds whom it speaks for at the end of `X-Forwarded-For`: the client is the last
//! one there that is no trusted proxy itself; what stands before, anybody may have written. The path
//! is that of `PUBLIC_URL`, or what a trusted proxy says in `X-Forwarded-Prefix`. A proxy may take
//! it off, or leave it there. Links of answers begin with it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use poem::{
    Endpoint, IntoResponse, Middleware, Request, Response, Result,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::PathAndQuery},
};

use crate::{
    config::PublicUrl,
    http::{
        network::Network,
        public_path::{ClientAddress, Prefix},
    },
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Puts the [`ClientAddress`] and the [`Prefix`] into each request.
pub(super) struct BehindProxy {
    rules: Arc<Rules>,
}

struct Rules {
    proxies: Vec<Network>,
    public: Option<PublicUrl>,
}

impl BehindProxy {
    pub(super) fn new(proxies: Vec<Network>, public: Option<PublicUrl>) -> Self {
        let rules = Arc::new(Rules { proxies, public });
        Self { rules }
    }
}

impl<E: Endpoint> Middleware<E> for BehindProxy {
    type Output = BehindProxyEndpoint<E>;

    fn transform(&self, inner: E) -> Self::Output {
        BehindProxyEndpoint {
            inner,
            rules: Arc::clone(&self.rules),
        }
    }
}

pub(super) struct BehindProxyEndpoint<E> {
    inner: E,
    rules: Arc<Rules>,
}

impl<E: Endpoint> Endpoint for BehindProxyEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let address = request.remote_addr().as_socket_addr();
        let peer = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip());
        let client = self.rules.client(peer, request.headers());
        let prefix = self.rules.prefix(peer, request.headers());
        request.extensions_mut().insert(ClientAddress(client));
        let Some(prefix) = prefix else {
            return Ok(self.inner.get_response(request).await.into_response());
        };
        if let Some(uri) = below(&prefix, request.uri()) {
            *request.uri_mut() = uri;
        }
        request.extensions_mut().insert(prefix.clone());
        let mut response = self.inner.get_response(request).await.into_response();
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            if let Some(led) = response
                .headers()
                .get(&name)
                .and_then(|led| lead(&prefix, led))
            {
                response.headers_mut().insert(name, led);
            }
        }
        Ok(response)
    }
}

impl Rules {
    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(address))
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let lines = headers.get_all(FORWARDED_FOR).iter();
        let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        let hops = lines.iter().flat_map(|line| line.split(','));
        let mut client = peer;
        for hop in hops.collect::<Vec<_>>().into_iter().rev() {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            client = address.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    fn prefix(&self, peer: IpAddr, headers: &HeaderMap) -> Option<Prefix> {
        let prefix = match &self.public {
            Some(public) => public.prefix().clone(),
            None if self.trusts(peer) => {
                headers.get(FORWARDED_PREFIX)?.to_str().ok()?.parse().ok()?
            }
            None => return None,
        };
        (!prefix.as_str().is_empty()).then_some(prefix)
    }
}

/// The rest of a target that begins with the prefix.
fn below(prefix: &Prefix, uri: &Uri) -> Option<Uri> {
    let path_and_query = uri.path_and_query()?.as_str();
    let rest = path_and_query.strip_prefix(prefix.as_str())?;
    let rest = match rest.chars().next() {
        Some('/') => rest.to_owned(),
        None | Some('?') => format!("/{rest}"),
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

/// Where a path of this server leads clients.
fn lead(prefix: &Prefix, path: &HeaderValue) -> Option<HeaderValue> {
    let path = path.to_str().ok().filter(|path| path.starts_with('/'))?;
    HeaderValue::try_from(format!("{}{path}", prefix.as_str())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_one_that_is_no_trusted_proxy() {
        let proxies = ["10.0.0.0/8", "::1"].map(|text| text.parse().unwrap());
        let rules = Rules {
            proxies: proxies.into(),
            public: None,
        };
        for (peer, lines, client) in [
            ("192.0.2.9", &["192.0.2.1"][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["1.1.1.1", "192.0.2.1"], "192.0.2.1"),
            ("::1", &["unknown, 10.0.0.2"], "10.0.0.2"),
            ("::1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            let found = rules.client(peer.parse().unwrap(), &headers);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn a_prefix_is_taken_off_where_it_is() {
        let prefix: Prefix = "/shop".parse().unwrap();
        for (target, rest) in [
            ("/shop/api?a=b", Some("/api?a=b")),
            ("/shop", Some("/")),
            ("/shop?a", Some("/?a")),
            ("/shopping", None),
            ("/api", None),
        ] {
            let uri = below(&prefix, &Uri::from_static(target));
            assert_eq!(uri.map(|uri| uri.to_string()).as_deref(), rest, "{target}");
        }
    }
}
