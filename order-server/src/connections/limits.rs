//! The limits of connections.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::http::network::Network;

/// The limits of connections.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections that may be open at once.
    pub max_connections: u64,
    /// Those of them that may be from one address.
    pub per_address: AddressLimit,
    /// The time limit for the head of the first request, from the start of the connection.
    pub header_timeout: Duration,
    /// The time that a connection stays open without a request. It is longer than the pools of
    /// clients and proxies commonly keep theirs, so that the client closes first.
    pub idle_timeout: Duration,
    /// The time for which a peer may take nothing of an answer.
    pub write_timeout: Duration,
    /// The time limit for requests in flight once the server stops.
    pub shutdown_timeout: Duration,
}

impl ConnectionLimits {
    /// Limits with these two values, and defaults for the rest.
    #[must_use]
    pub fn new(max_connections: u64, header_timeout: Duration) -> Self {
        Self {
            max_connections,
            per_address: AddressLimit::default(),
            header_timeout,
            idle_timeout: Duration::from_secs(100),
            write_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// What other machines may have, unless it is given.
const FROM_OTHER_MACHINES: u64 = 1_000;

/// The limit of connections from one address.
#[derive(Clone, Debug, Default)]
pub struct AddressLimit {
    /// The most; 1 000 from other machines and any number from this one, unless it is given.
    pub most: Option<u64>,
    /// Whoever may have any number.
    pub proxies: Arc<[Network]>,
}

impl AddressLimit {
    pub(super) fn of(&self, address: IpAddr) -> usize {
        let is_proxy = self.proxies.iter().any(|network| network.contains(address));
        let most = match self.most {
            _ if is_proxy => return usize::MAX,
            None if address.to_canonical().is_loopback() => return usize::MAX,
            most => most.unwrap_or(FROM_OTHER_MACHINES),
        };
        usize::try_from(most).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_proxies_may_have_any_number() {
        let mut limit = AddressLimit {
            most: None,
            proxies: Arc::new(["192.0.2.0/24".parse().unwrap()]),
        };
        let of = |limit: &AddressLimit, text: &str| limit.of(text.parse().unwrap());
        assert_eq!(of(&limit, "127.0.0.1"), usize::MAX);
        assert_eq!(of(&limit, "192.0.2.7"), usize::MAX);
        assert_eq!(of(&limit, "198.51.100.1"), 1_000);
        limit.most = Some(3);
        assert_eq!(of(&limit, "::ffff:127.0.0.1"), 3);
        assert_eq!(of(&limit, "192.0.2.7"), usize::MAX);
    }
}
