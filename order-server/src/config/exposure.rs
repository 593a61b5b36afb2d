//! The rule that a server without API keys listens on its own machine only.

use std::net::SocketAddr;

use anyhow::bail;

/// Checks that a server that `is_open`, because there are no keys, may listen on `address`.
///
/// # Errors
/// When other machines can reach it and would need no key.
pub(crate) fn check_exposure(
    address: SocketAddr,
    is_open: bool,
    insecure_no_auth: bool,
) -> anyhow::Result<()> {
    if is_open && !address.ip().is_loopback() && !insecure_no_auth {
        bail!(
            "{address} is reachable from other machines and there are no API keys: \
             create one (order-cli key create --name NAME --scope admin), listen on 127.0.0.1, \
             or give --insecure-no-auth"
        );
    }
    Ok(())
}
