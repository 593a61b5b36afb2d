//! The origin of a page: its scheme, host and port.

use std::str::FromStr;

use anyhow::{Context, ensure};
use poem::http::HeaderValue;
use url::Url;

/// The origin of a page, as browsers name it: `https://shop.example`, with a port where it is
/// not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl FromStr for Origin {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let url = Url::parse(text).context("not an origin such as https://shop.example")?;
        let origin = url.origin().ascii_serialization();
        ensure!(origin == text, "not an origin; did you mean {origin}?");
        Ok(Self(HeaderValue::try_from(origin)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in [
            "https://shop.example",
            "http://localhost:3000",
            "http://[::1]:1",
        ] {
            assert_eq!(good.parse::<Origin>().unwrap().header(), good);
        }
        for bad in [
            "",
            "*",
            "null",
            "shop.example",
            "https://shop.example/",
            "https://shop.example/page",
            "https://Shop.example",
            "https://shop.example:443",
            "https://user@shop.example",
            "file:///page",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
        }
    }
}
