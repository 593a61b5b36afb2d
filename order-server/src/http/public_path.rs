//! Where clients see the server: who they are, and under which path it is published to them.

use std::{net::IpAddr, str::FromStr};

use anyhow::ensure;

/// The address of the client, also behind proxies that are trusted: an extension of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// The path below which a proxy publishes the server, such as `/orders`; empty where there is none.
/// An extension of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Only what means nothing else, neither in a header nor on a page.
impl FromStr for Prefix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        const MAX_BYTES: usize = 200;
        let path = text.trim_end_matches('/');
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        ensure!(
            (path.is_empty() || path.starts_with('/'))
                && path.len() <= MAX_BYTES
                && path.bytes().all(is_plain)
                && !path.contains("//"),
            "not a path of letters, digits, dashes, dots and slashes"
        );
        Ok(Self(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_nothing_that_a_page_could_take_for_something_else() {
        for (text, prefix) in [
            ("", ""),
            ("/", ""),
            ("/shop/", "/shop"),
            ("/a/b-c", "/a/b-c"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().as_str(), prefix);
        }
        for bad in [
            "shop",
            "//evil.example",
            "/a//b",
            "/<script>",
            "/a b",
            "/\"",
            "/ä",
        ] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }
}
