//! The loop that accepts connections.

use std::{io, sync::Arc};

use ::metrics::{counter, gauge};
use order_core::supervise::catch;
use poem::{Endpoint, Response};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ConnectionLimits, accept::accept, addresses::Addresses, connection::ConnectionHandler,
};
use crate::metrics::{CONNECTIONS, CONNECTIONS_REFUSED};

/// Serves `endpoint` on `listener`, over TLS where it is given, until `stop` is cancelled. It then
/// takes no more connections, and answers the requests in flight.
///
/// # Errors
/// When the listener has no address.
pub async fn serve<E>(
    listener: TcpListener,
    endpoint: E,
    limits: ConnectionLimits,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
{
    let address = listener.local_addr()?;
    let addresses = Addresses::new(limits.per_address.clone());
    let (max_connections, shutdown_timeout) = (limits.max_connections, limits.shutdown_timeout);
    let handler = Arc::new(ConnectionHandler::new(
        endpoint,
        address,
        limits,
        tls,
        stop.clone(),
    ));
    let slots = usize::try_from(max_connections).unwrap_or(usize::MAX);
    let slots = Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let open = gauge!(CONNECTIONS);
    let refused = counter!(CONNECTIONS_REFUSED);
    tracing::info!(%address, "listening");
    while let Some((stream, peer)) = stop.run_until_cancelled(accept(&listener)).await {
        let slot = Arc::clone(&slots).try_acquire_owned();
        let place = slot.is_ok().then(|| addresses.enter(peer.ip())).flatten();
        let (Ok(slot), Some(place)) = (slot, place) else {
            refused.increment(1);
            handler.refuse(stream);
            continue;
        };
        let (handler, open) = (Arc::clone(&handler), open.clone());
        connections.spawn(async move {
            open.increment(1);
            // A panic is logged, and closes the connection.
            let _ = catch("connection", handler.serve(stream, peer, place)).await;
            open.decrement(1);
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    if timeout(shutdown_timeout, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "closing connections with unfinished requests"
        );
        handler.abort();
        connections.wait().await;
    }
    Ok(())
}
