//! The limits that clients meet, and the pages and names that the server accepts.

use std::{num::NonZeroU32, time::Duration};

use clap::Args;

use super::{
    AllowedHost, Origin,
    values::{millis, positive},
};
use crate::connections::ConnectionLimits;

const MAX_CONNECTIONS: u64 = 10_000;
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
}

impl HttpLimits {
    /// The limits of connections.
    #[must_use]
    pub const fn connections(&self) -> ConnectionLimits {
        let header_timeout = millis(self.header_timeout_ms);
        ConnectionLimits::new(self.max_connections, header_timeout)
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
            header_timeout_ms: HEADER_TIMEOUT_MS,
            request_timeout_ms: REQUEST_TIMEOUT_MS,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
        }
    }
}
