//! Where a proxy publishes the server.

use std::{fmt, str::FromStr};

use anyhow::{Context, ensure};
use poem::http::HeaderValue;
use url::Url;

use super::{AllowedHost, Origin};
use crate::http::public_path::Prefix;

/// The URL by which clients find the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: Origin,
    host: AllowedHost,
    prefix: Prefix,
}

impl PublicUrl {
    pub(crate) fn origin(&self) -> HeaderValue {
        self.origin.header()
    }

    pub(crate) fn host(&self) -> AllowedHost {
        self.host.clone()
    }

    pub(crate) const fn prefix(&self) -> &Prefix {
        &self.prefix
    }
}

impl FromStr for PublicUrl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let what = "not a URL such as https://shop.example/orders";
        let url = Url::parse(text).context(what)?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        ensure!(matches!(url.scheme(), "http" | "https") && is_plain, what);
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            origin: url.origin().ascii_serialization().parse()?,
            host: host.parse()?,
            prefix: url.path().parse()?,
        })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin.header();
        write!(
            f,
            "{}{}",
            origin.to_str().unwrap_or_default(),
            self.prefix.as_str()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_an_origin_and_a_path() {
        for (text, shown) in [
            ("https://shop.example", "https://shop.example"),
            (
                "https://shop.example/orders/",
                "https://shop.example/orders",
            ),
            (
                "http://shop.example:8080/a/b",
                "http://shop.example:8080/a/b",
            ),
        ] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().to_string(), shown);
        }
        for bad in [
            "shop.example",
            "ftp://a/",
            "https://u:p@a/",
            "https://a/?q",
            "https://a/<b>",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }
}
