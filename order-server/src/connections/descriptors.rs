//! The limit of open files, and of connections with it.

/// Descriptors for everything but connections of clients: the database, Redis, the log.
const RESERVED: u64 = 256;

/// Returns `wanted`, or the number of connections that the operating system allows when it allows
/// fewer. Raises the limit of open files as far as it goes: the usual one is made for programs
/// that use `select`, and a process that runs out of them cannot reach its database either.
#[must_use]
pub fn within_descriptor_limit(wanted: u64) -> u64 {
    let allowed = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(allowed) => allowed,
        Err(error) => {
            tracing::warn!(%error, "cannot read the limit of open files");
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
