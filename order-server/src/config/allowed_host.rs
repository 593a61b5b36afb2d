//! The names of a server that has no API keys.

use std::{net::IpAddr, str::FromStr};

use anyhow::{Context, ensure};
use poem::http::uri::Authority;

/// A name or an address by which clients may call a server that has no keys, as it stands in
/// `Host`; on any port, unless it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Authority);

impl AllowedHost {
    /// Tells whether a client that calls the server `name` uses this name.
    #[must_use]
    pub fn includes(&self, name: &Authority) -> bool {
        let has_port = self.0.port_u16();
        self.0.host().eq_ignore_ascii_case(name.host())
            && (has_port.is_none() || has_port == name.port_u16())
    }

    /// Tells whether `name` always leads to the machine that uses it: an address of the loopback,
    /// `localhost` or a name below it (RFC 6761 §6.3).
    #[must_use]
    pub fn is_loopback(name: &Authority) -> bool {
        let host = name.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = address.parse::<IpAddr>() {
            return address.to_canonical().is_loopback();
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        host == "localhost" || host.ends_with(".localhost")
    }
}

impl FromStr for AllowedHost {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let authority: Authority = text
            .parse()
            .context("not a host such as shop.internal or shop.internal:8000")?;
        ensure!(
            !text.contains(['@', '*']) && !authority.host().is_empty(),
            "not a host such as shop.internal or shop.internal:8000"
        );
        Ok(Self(authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_without_a_port_stands_for_all_of_its_ports() {
        let any: AllowedHost = "Shop.internal".parse().unwrap();
        assert!(any.includes(&authority("shop.internal")));
        assert!(any.includes(&authority("shop.internal:8000")));
        assert!(!any.includes(&authority("evil.shop.internal")));
        let one: AllowedHost = "shop.internal:8000".parse().unwrap();
        assert!(one.includes(&authority("shop.internal:8000")));
        assert!(!one.includes(&authority("shop.internal")));
        for bad in ["", "*", "*.shop.internal", "http://shop", "a@shop", "a b"] {
            assert!(bad.parse::<AllowedHost>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_loopback_is_known_by_all_of_its_names() {
        for name in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.",
            "shop.localhost:1",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]:8000",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(AllowedHost::is_loopback(&authority(name)), "{name}");
        }
        for name in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "192.0.2.1",
            "0.0.0.0:8000",
            "[::]:8000",
        ] {
            assert!(!AllowedHost::is_loopback(&authority(name)), "{name}");
        }
    }
}
