//! One connection, from its first byte to its last.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use poem::{
    Addr, Endpoint, Request, Response,
    http::{self, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};

use super::{Limits, accept::refuse, counted::Counted, pulse::Pulse};

/// More than the largest head that is served, so that one that is somewhat too large gets a
/// proper answer ([`http`](crate::http)), and one that is much too large a bare one.
const MAX_HEAD_BYTES: usize = 1 << 16;
const MAX_STREAMS: u32 = 100;
/// Resets of streams that are not yet accepted, before the peer is taken for an attacker
/// ("Rapid Reset", CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// How often a peer that speaks HTTP/2 is asked whether it is still there, and how long it
/// may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// How long an idle connection may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

type Plain = Pin<Box<TimeoutWriter<TcpStream>>>;

/// What all connections share.
pub(super) struct Host<E> {
    endpoint: E,
    address: LocalAddr,
    limits: Limits,
    http: auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
    hang_up: CancellationToken,
}

impl<E: Endpoint<Output = Response> + 'static> Host<E> {
    pub(super) fn new(
        endpoint: E,
        address: SocketAddr,
        limits: Limits,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            endpoint,
            address: LocalAddr(Addr::SocketAddr(address)),
            limits,
            http: protocols(limits),
            tls,
            stop,
            hang_up: CancellationToken::new(),
        }
    }

    /// Ends all connections, whatever is in flight on them.
    pub(super) fn hang_up(&self) {
        self.hang_up.cancel();
    }

    /// Turns a connection away. Without a handshake nothing can be said over TLS.
    pub(super) fn refuse(&self, stream: TcpStream) {
        tracing::debug!("a connection too many was refused");
        if self.tls.is_none() {
            refuse(stream);
        }
    }

    /// Serves a connection to its end, or until the host stops.
    pub(super) async fn attend(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // A token of its own: asking one that all share would take its lock for every request.
        let stop = self.stop.child_token();
        let first_head_by = Instant::now() + self.limits.header_timeout;
        let greeting = timeout_at(first_head_by, self.greet(stream));
        let Some(Ok(Ok(stream))) = stop.run_until_cancelled(greeting).await else {
            return;
        };
        let pulse = Arc::new(Pulse::default());
        let service = service_fn(|request: http::Request<Incoming>| {
            let (host, beat) = (Arc::clone(&self), pulse.beat());
            async move {
                let answer: http::Response<_> = host.answer(request, peer).await.into();
                Ok::<_, Infallible>(answer.map(|body| Counted::new(body, beat)))
            }
        });
        let io = TokioIo::new(stream);
        let mut connection = pin!(self.http.serve_connection(io, service));
        let is_idle = tokio::select! {
            _ = connection.as_mut() => return,
            () = pulse.never_begins(first_head_by) => return,
            () = pulse.pauses(self.limits.idle_timeout) => true,
            () = stop.cancelled() => false,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = self.hang_up.cancelled() => {}
            // Not all peers answer a goodbye.
            () = pulse.pauses(FAREWELL), if is_idle => {}
        }
    }

    /// What speaks HTTP, after the handshake where there is one.
    async fn greet(&self, stream: TcpStream) -> io::Result<Either<Plain, TlsStream<Plain>>> {
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.limits.write_timeout));
        let stream = Box::pin(stream);
        match &self.tls {
            Some(tls) => Ok(Either::Right(tls.accept(stream).await?)),
            None => Ok(Either::Left(stream)),
        }
    }

    async fn answer(&self, request: http::Request<Incoming>, peer: SocketAddr) -> Response {
        let peer = RemoteAddr(Addr::SocketAddr(peer));
        let scheme = if self.tls.is_some() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let request = Request::from((request, self.address.clone(), peer, scheme));
        self.endpoint.get_response(request).await
    }
}

/// HTTP/1.1 and HTTP/2, whichever the client begins with.
fn protocols(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Counts from the end of the answer before.
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
    builder
}
