//! The limits of connections.

use std::time::Duration;

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections that may be open at once.
    pub max_connections: u64,
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
    pub const fn new(max_connections: u64, header_timeout: Duration) -> Self {
        Self {
            max_connections,
            header_timeout,
            idle_timeout: Duration::from_secs(100),
            write_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}
