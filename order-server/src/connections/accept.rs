//! Accepts connections, and refuses those over the limit.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::LazyLock,
    time::Duration,
};

use poem::http::StatusCode;
use tokio::net::{TcpListener, TcpStream};

use super::raw_problem::raw_problem;

/// The pause when the machine cannot accept a connection: long enough for others to end.
const PAUSE: Duration = Duration::from_millis(200);

/// The next connection. Sends without delay: an answer leaves at once, instead of waiting for
/// the acknowledgement of the one before (Nagle's algorithm).
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already refuses the option; the connection fails later.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) if is_of_the_peer(&error) => {}
            // Most likely no descriptors are left, and the next attempt would fail as well.
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Tells whether an error concerns only the connection that was to be accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// The answer to a connection over the limit.
static REFUSAL: LazyLock<String> = LazyLock::new(|| {
    let detail = "too many connections are open";
    let again = [("retry-after", "1")];
    raw_problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        detail,
        &again,
    )
});

/// Refuses a connection over the limit with one write that does not wait, and without a task.
/// A client that has sent much already may only see that the connection is closed.
pub(super) fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(REFUSAL.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio::spawn(TcpStream::connect(address));
        let (stream, _) = accept(&listener).await;
        assert!(stream.nodelay().unwrap());
        client.await.unwrap().unwrap();
    }
}
