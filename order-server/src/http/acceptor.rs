//! Accepting connections with `TCP_NODELAY`: an answer leaves at once, instead of waiting for
//! the acknowledgement of the one before (Nagle's algorithm), which poem leaves on.

use std::io;

use poem::{
    http::uri::Scheme,
    listener::{Acceptor, TcpAcceptor},
    web::{LocalAddr, RemoteAddr},
};
use tokio::net::{TcpListener, TcpStream};

/// A TCP acceptor that sends without delay.
pub struct NoDelay {
    inner: TcpAcceptor,
}

impl NoDelay {
    /// Accepts from `listener`.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        let inner = TcpAcceptor::from_tokio(listener)?;
        Ok(Self { inner })
    }
}

impl Acceptor for NoDelay {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.inner.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        let accepted = self.inner.accept().await?;
        // A peer that is gone already refuses the option; the connection will tell.
        let _ = accepted.0.set_nodelay(true);
        Ok(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut acceptor = NoDelay::new(listener).unwrap();
        let client = tokio::spawn(TcpStream::connect(address));
        let (stream, ..) = acceptor.accept().await.unwrap();
        assert!(stream.nodelay().unwrap());
        client.await.unwrap().unwrap();
    }
}
