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
    http::{self, Version, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    ConnectionLimits,
    accept::refuse,
    addresses::Place,
    delivery::{Deliveries, Delivery},
    error_answers::ErrorAnswers,
    tracked_body::TrackedBody,
};

/// More than the largest head that is served, so that one that is somewhat too large gets a
/// proper answer from the application, and one that is much too large a bare one.
const MAX_HEAD_BYTES: usize = 1 << 16;
const MAX_STREAMS: u32 = 100;
/// Resets of streams that are not yet accepted, before the peer is taken for an attacker
/// ("Rapid Reset", CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
/// The interval of pings to a peer that speaks HTTP/2, and the time limit for its answer.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// The time limit for an idle connection to end.
const IDLE_CLOSE_LIMIT: Duration = Duration::from_secs(1);

type Plain = Pin<Box<TimeoutWriter<TcpStream>>>;

/// The parts that all connections share.
pub(super) struct ConnectionHandler<E> {
    endpoint: E,
    address: LocalAddr,
    limits: ConnectionLimits,
    http: auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl<E: Endpoint<Output = Response> + 'static> ConnectionHandler<E> {
    pub(super) fn new(
        endpoint: E,
        address: SocketAddr,
        limits: ConnectionLimits,
        tls: Option<TlsAcceptor>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            endpoint,
            address: LocalAddr(Addr::SocketAddr(address)),
            http: protocols(&limits),
            limits,
            tls,
            stop,
            abort: CancellationToken::new(),
        }
    }

    /// Ends all connections with their requests in flight.
    pub(super) fn abort(&self) {
        self.abort.cancel();
    }

    /// Refuses a connection over the limit. Over TLS it is only closed: an answer would need a
    /// handshake.
    pub(super) fn refuse(&self, stream: TcpStream) {
        tracing::debug!("a connection over the limit was refused");
        if self.tls.is_none() {
            refuse(stream);
        }
    }

    /// Serves a connection to its end, until it has to give way, or until the server stops.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        // A token of its own: checking one that all share would take its lock for every request.
        let stop = self.stop.child_token();
        let first_head_by = Instant::now() + self.limits.header_timeout;
        let handshake = timeout_at(first_head_by, self.handshake(stream));
        let handshake = stop.run_until_cancelled(handshake);
        let handshake = place.peer.gives_way.run_until_cancelled(handshake);
        let Some(Some(Ok(Ok(stream)))) = handshake.await else {
            return;
        };
        let activity = &place.peer.activity;
        let deliveries = Arc::new(Deliveries::default());
        let service = service_fn(|request: http::Request<Incoming>| {
            let (handler, active) = (Arc::clone(&self), activity.begin());
            let deliveries = (request.version() == Version::HTTP_2).then_some(&deliveries);
            let deliveries = deliveries.map(Arc::clone);
            async move {
                let answer: http::Response<_> = handler.answer(request, peer).await.into();
                let delivery = match deliveries {
                    Some(deliveries) => deliveries.begin(active),
                    None => Delivery::unwatched(active),
                };
                Ok::<_, Infallible>(answer.map(|body| TrackedBody::new(body, delivery)))
            }
        });
        let io = TokioIo::new(ErrorAnswers::new(stream));
        let mut connection = pin!(self.http.serve_connection(io, service));
        let is_idle = tokio::select! {
            _ = connection.as_mut() => return,
            () = activity.no_request_by(first_head_by) => return,
            () = deliveries.stalled_for(self.limits.write_timeout) => return,
            () = activity.idle_for(self.limits.idle_timeout) => true,
            () = place.peer.gives_way.cancelled() => true,
            () = stop.cancelled() => false,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = self.abort.cancelled() => {}
            () = deliveries.stalled_for(self.limits.write_timeout) => {}
            // Not all peers close in return.
            () = activity.idle_for(IDLE_CLOSE_LIMIT), if is_idle => {}
        }
    }

    /// Shakes hands over TLS, where it is on.
    async fn handshake(&self, stream: TcpStream) -> io::Result<Either<Plain, TlsStream<Plain>>> {
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

/// HTTP/1.1 and HTTP/2: the client chooses with its first bytes.
fn protocols(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Counts from the end of the previous answer.
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
