//! How many connections this process can have.

/// Descriptors for everything that is not a connection: the database, Redis, the log.
const RESERVED: u64 = 256;

/// As many connections as are `wanted`, or as the operating system allows when it allows
/// less. Asks it for as many descriptors as it gives: the usual limit is made for programs
/// that use `select`, and a process that runs out of them cannot reach its database either.
#[must_use]
pub fn affordable(wanted: u64) -> u64 {
    let allowed = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files is unknown");
            return wanted;
        }
    };
    let connections = allowed.saturating_sub(RESERVED);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            "the limit of open files (ulimit -n) allows fewer connections"
        );
    }
    wanted.min(connections.max(1))
}
