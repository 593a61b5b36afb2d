//! The address that a server listens on.

use std::net::{SocketAddr, ToSocketAddrs};

/// Parses `HOST:PORT`, where the host is an address or a name, such as `localhost`. Of the addresses
/// of a name, one of version 4 is preferred.
///
/// # Errors
/// A message for whoever gave it.
pub fn bind_addr(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let resolved = text.to_socket_addrs();
    let all: Vec<SocketAddr> = resolved
        .map_err(|_| "must be HOST:PORT, such as 127.0.0.1:8000".to_owned())?
        .collect();
    let preferred = all.iter().find(|address| address.is_ipv4());
    let address = preferred.or(all.first()).copied();
    address.ok_or_else(|| "the name has no address".to_owned())
}
