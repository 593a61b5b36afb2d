//! The limits that clients meet, and the pages and names that the server accepts.

use std::{num::NonZeroU32, time::Duration};

use clap::Args;

use super::{
    AllowedHost, Origin, PublicUrl,
    values::{millis, positive},
};
use crate::{
    connections::{AddressLimit, ConnectionLimits},
    http::network::Network,
};

const MAX_CONNECTIONS: u64 = 10_000;
/// Half of what can be followed at all.
const MAX_STREAMS_PER_KEY: u64 = 5_000;
const HEADER_TIMEOUT_MS: u64 = 10_000;
const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// One request a nanosecond: the limiter counts no finer.
const MAX_RATE: i64 = 1_000_000_000;

/// The limits that clients meet, and the pages and names that the server accepts.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct HttpLimits {
    /// Requests per second that each API key may send, or each address without a key; 0 for no
    /// limit. Each server process counts for itself
    #[arg(long, env, default_value_t = 0, value_name = "REQUESTS",
          value_parser = clap::value_parser!(u32).range(..=MAX_RATE))]
    pub rate_limit: u32,

    /// Requests that may come at once; as many as per second unless given
    #[arg(long, env, value_name = "REQUESTS")]
    pub rate_limit_burst: Option<NonZeroU32>,

    /// Maximum number of open connections; a further one gets 503 and is closed
    #[arg(long, env, default_value_t = MAX_CONNECTIONS, value_parser = positive())]
    pub max_connections: u64,

    /// Maximum number of open connections from one address (of IPv6, its first 64 bits); for a further
    /// one, that is closed which was idle for longest, and without any it gets 503. 1000 from other
    /// machines and any number from this one, unless given; any number from trusted proxies
    #[arg(long, env, value_name = "CONNECTIONS", value_parser = positive())]
    pub max_connections_per_address: Option<u64>,

    /// Maximum number of open event streams of each API key, or of each address without a key; for a
    /// further one, that ends which was quiet for longest
    #[arg(long, env, default_value_t = MAX_STREAMS_PER_KEY, value_name = "STREAMS",
          value_parser = positive())]
    pub max_streams_per_key: u64,

    /// Milliseconds that a new connection may take to send the head of its first request
    #[arg(long, env, default_value_t = HEADER_TIMEOUT_MS, value_parser = positive())]
    pub header_timeout_ms: u64,

    /// Milliseconds that a request may take until its answer begins; then it gets 408 if its body
    /// is late, otherwise 503
    #[arg(long, env, default_value_t = REQUEST_TIMEOUT_MS, value_parser = positive())]
    pub request_timeout_ms: u64,

    /// Origins whose pages may use the API from a browser, separated by commas; none unless given
    #[arg(long, env, value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origins: Vec<Origin>,

    /// Host names that a server without API keys answers to, besides localhost and loopback
    /// addresses, separated by commas
    #[arg(long, env, value_delimiter = ',', value_name = "HOST")]
    pub allowed_hosts: Vec<AllowedHost>,

    /// Networks of proxies that are believed when they tell whom they speak for (X-Forwarded-For) and
    /// under which path they publish the server (X-Forwarded-Prefix), separated by commas
    #[arg(long, env, value_delimiter = ',', value_name = "NETWORK")]
    pub trusted_proxies: Vec<Network>,

    /// Where clients find the server when a proxy publishes it elsewhere, such as
    /// `https://shop.example/orders`
    #[arg(long, env, value_name = "URL")]
    pub public_url: Option<PublicUrl>,
}

impl HttpLimits {
    /// The limits of connections.
    #[must_use]
    pub fn connections(&self) -> ConnectionLimits {
        let header_timeout = millis(self.header_timeout_ms);
        let mut limits = ConnectionLimits::new(self.max_connections, header_timeout);
        limits.per_address = AddressLimit {
            most: self.max_connections_per_address,
            proxies: self.trusted_proxies.as_slice().into(),
        };
        limits
    }

    /// The most event streams of an account.
    pub(crate) fn max_streams(&self) -> usize {
        usize::try_from(self.max_streams_per_key).unwrap_or(usize::MAX)
    }

    /// The time limit of a request.
    #[must_use]
    pub const fn request_timeout(&self) -> Duration {
        millis(self.request_timeout_ms)
    }
}

/// The limits without any flag or variable.
impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            rate_limit: 0,
            rate_limit_burst: None,
            max_connections: MAX_CONNECTIONS,
            max_connections_per_address: None,
            max_streams_per_key: MAX_STREAMS_PER_KEY,
            header_timeout_ms: HEADER_TIMEOUT_MS,
            request_timeout_ms: REQUEST_TIMEOUT_MS,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            public_url: None,
        }
    }
}
