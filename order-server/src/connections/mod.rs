//! Connections, and what they may cost.
//!
//! The loop is our own, over hyper, because poem's has no time-out for headers, no limit to
//! the number of connections, and spins when it cannot accept. What a connection costs is
//! bounded from its first byte on:
//!
//! - There are at most [`Limits::max_connections`]; one more is told so and closed.
//! - The first request has to be there, head and all, within [`Limits::header_timeout`],
//!   whatever it begins with. Later ones have as long as a connection may stand idle.
//! - The head of a request has a largest size. Bodies and requests as a whole are limited
//!   where they are served ([`http`](crate::http)).
//! - A peer that takes nothing of an answer for half a minute is given up.
//!
//! A machine that is out of descriptors or memory accepts nothing for a moment, and goes on.

mod accept;
mod connection;
mod counted;
mod descriptors;
mod pulse;
pub mod tls;

use std::{io, sync::Arc, time::Duration};

use ::metrics::{counter, gauge};
use order_core::supervise::catch;
use poem::{Endpoint, Response};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{accept::accept, connection::Host};
use crate::metrics::{CONNECTIONS, CONNECTIONS_REFUSED};

pub use descriptors::affordable;

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many may be open.
    pub max_connections: u64,
    /// How long the head of the first request may take, from the start of the connection.
    pub header_timeout: Duration,
    /// How long a connection stays open without a request. Longer than the pools of clients
    /// and proxies commonly keep theirs, so that it is the client who closes.
    pub idle_timeout: Duration,
    /// How long a peer may take nothing of what is sent to it.
    pub write_timeout: Duration,
    /// How long what is in flight may take once the server is told to stop.
    pub shutdown_timeout: Duration,
}

impl Limits {
    /// These two; the rest as it is good for all.
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

/// Serves `endpoint` on `listener`, over TLS where it is given, until `stop` is cancelled: then
/// takes no more connections, and answers what is in flight.
///
/// # Errors
/// When the listener has no address.
pub async fn serve<E>(
    listener: TcpListener,
    endpoint: E,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
{
    let address = listener.local_addr()?;
    let host = Arc::new(Host::new(endpoint, address, limits, tls, stop.clone()));
    let slots = usize::try_from(limits.max_connections).unwrap_or(usize::MAX);
    let slots = Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let open = gauge!(CONNECTIONS);
    let refused = counter!(CONNECTIONS_REFUSED);
    tracing::info!(%address, "listening");
    while let Some((stream, peer)) = stop.run_until_cancelled(accept(&listener)).await {
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            refused.increment(1);
            host.refuse(stream);
            continue;
        };
        let (host, open) = (Arc::clone(&host), open.clone());
        connections.spawn(async move {
            open.increment(1);
            // A panic is logged, and closes the connection.
            let _ = catch("connection", host.attend(stream, peer)).await;
            open.decrement(1);
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if timeout(limits.shutdown_timeout, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(connections = connections.len(), "closed while in use");
        host.hang_up();
        connections.wait().await;
    }
    Ok(())
}
