//! `order-cli health`: checks whether the server on this machine is ready. It serves health checks
//! of containers, whose image has no HTTP client.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{anyhow, ensure};
use clap::Args;
use order_server::runtime::bind_addr;

use crate::pinned_tls;

/// The time in which it must answer; it has looked at its database by then.
const LIMIT: Duration = Duration::from_secs(4);

/// Check whether the server is ready; exit with 1 when it is not
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Address of the server
    #[arg(long, env, default_value = "127.0.0.1:8000", value_name = "HOST:PORT", value_parser = bind_addr)]
    bind_addr: SocketAddr,

    /// PEM file with the certificate of the server, if it uses TLS
    #[arg(long, env, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
}

pub(crate) fn run(health: &Health) -> anyhow::Result<ExitCode> {
    let address = reachable(health.bind_addr);
    let answer = ask(address, health.tls_cert.as_deref()).map_err(silence_named)?;
    let status = answer.lines().next().unwrap_or_default();
    ensure!(
        status.split(' ').nth(1) == Some("200"),
        "the server is not ready: {}",
        status.escape_default()
    );
    Ok(ExitCode::SUCCESS)
}

/// The address by which a server that listens everywhere is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// A socket that waited in vain says no more than that its resource is temporarily unavailable.
fn silence_named(error: anyhow::Error) -> anyhow::Error {
    let kind = error.downcast_ref().map(io::Error::kind);
    if matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)) {
        return anyhow!("the server does not answer within {} s", LIMIT.as_secs());
    }
    error.context("the server does not answer")
}

fn ask(address: SocketAddr, tls_cert: Option<&Path>) -> anyhow::Result<String> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    match tls_cert {
        Some(cert) => get(pinned_tls::connect(stream, cert)?),
        None => get(stream),
    }
}

fn get(mut stream: impl Read + Write) -> anyhow::Result<String> {
    stream.write_all(b"GET /health/ready HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
