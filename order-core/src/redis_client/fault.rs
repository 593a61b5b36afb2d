//! The meaning of a failure of Redis.

use redis::{ErrorKind, RedisError};

/// The party at fault, told apart by the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection's: it is broken or silent, leads to a server that cannot write any more,
    /// or is not let in. A new one may be better.
    Connection,
    /// The server's, on whichever connection: it is busy, full or not ready.
    Server,
    /// Nobody's: the server does not allow this, and allows other things.
    Permission,
    /// The call's: it would fail again.
    Call,
}

impl Fault {
    pub(super) fn of(error: &RedisError) -> Self {
        match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "READONLY" | "MASTERDOWN") => Self::Connection,
            Some("LOADING" | "OOM" | "BUSY" | "MISCONF" | "NOREPLICAS") => Self::Server,
            Some("NOPERM") => Self::Permission,
            _ if error.is_io_error()
                || error.is_timeout()
                || error.is_connection_dropped()
                || error.is_unrecoverable_error()
                || error.is_cluster_error()
                || error.kind() == ErrorKind::AuthenticationFailed =>
            {
                Self::Connection
            }
            _ => Self::Call,
        }
    }
}

/// True for an answer that something is not there (yet), which callers expect.
pub(super) fn is_absence(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}
