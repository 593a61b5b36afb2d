//! Connections that stand still, and machines that cannot take any.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use order_server::connections::{ConnectionLimits, serve};
use poem::{Body, Response, endpoint::make_sync};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// The same in HTTP/2: the preface, empty SETTINGS, their acknowledgement, and HEADERS that end
/// the stream 1: `GET http://x/`.
const NEWER_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x00\x04\x01\x00\x00\x00\x00\
    \x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01x";

struct Running {
    address: SocketAddr,
    /// Answers whose bodies are being sent.
    sending: Arc<AtomicUsize>,
    stop: CancellationToken,
    served: JoinHandle<io::Result<()>>,
}

/// Serves endless bodies at `/endless`, and short ones elsewhere.
async fn run(limits: ConnectionLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sending = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sending);
    let endpoint = make_sync(move |request| {
        if request.uri().path() == "/endless" {
            Response::builder().body(endless(Arc::clone(&counter)))
        } else {
            Response::from("done")
        }
    });
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, endpoint, limits, None, stop.clone()));
    Running {
        address,
        sending,
        stop,
        served,
    }
}

/// Counts itself as long as somebody holds it.
struct Sending(Arc<AtomicUsize>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn endless(counter: Arc<AtomicUsize>) -> Body {
    counter.fetch_add(1, Ordering::SeqCst);
    let sending = Sending(counter);
    let chunks = std::iter::repeat_with(move || {
        let _ = &sending;
        Ok::<_, io::Error>(vec![b'x'; 1 << 16])
    });
    Body::from_bytes_stream(futures_util::stream::iter(chunks))
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn close(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).await.unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK"));
}

async fn until(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "{what} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let mut limits = ConnectionLimits::new(10, SECOND * 10);
    limits.idle_timeout = SECOND;
    let running = run(limits).await;
    let mut stream = running.connect().await;
    let start = Instant::now();
    while start.elapsed() < SECOND * 3 {
        ask(&mut stream).await;
        tokio::time::sleep(SECOND / 10).await;
    }
    let idle_since = Instant::now();
    let end = stream.read(&mut [0; 1]).await.unwrap();
    assert_eq!(end, 0, "closed in an orderly way");
    assert!(
        idle_since.elapsed() < SECOND * 4,
        "{:?}",
        idle_since.elapsed()
    );
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_of_the_newer_version_is_closed() {
    let mut limits = ConnectionLimits::new(10, SECOND * 10);
    limits.idle_timeout = SECOND / 2;
    let running = run(limits).await;
    let mut stream = running.connect().await;
    stream.write_all(NEWER_REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(SECOND * 8, read).await;
    read.expect("closed").unwrap();
    assert!(answer.windows(4).any(|bytes| bytes == b"done"));
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_nothing_is_given_up() {
    let mut limits = ConnectionLimits::new(10, SECOND * 10);
    limits.write_timeout = SECOND;
    limits.idle_timeout = SECOND;
    let running = run(limits).await;
    let mut stream = running.connect().await;
    let request = b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let sending = || running.sending.load(Ordering::SeqCst);
    until("nothing is sent", SECOND * 5, || sending() == 1).await;
    // As long as it takes something, it is served, and its connection is not idle.
    let start = Instant::now();
    let mut part = vec![0; 1 << 16];
    while start.elapsed() < SECOND * 3 {
        assert!(stream.read(&mut part).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(sending(), 1);
    until("it is still being sent", SECOND * 5, || sending() == 0).await;
    running.close().await;
}

/// What is still being sent when the time for it is over is cut off, and the server ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_does_not_keep_the_server_from_stopping() {
    let mut limits = ConnectionLimits::new(10, SECOND * 10);
    limits.shutdown_timeout = SECOND / 2;
    let running = run(limits).await;
    let mut stream = running.connect().await;
    let request = b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut part = vec![0; 1 << 16];
        while stream.read(&mut part).await.is_ok_and(|read| read > 0) {}
    });
    let sending = Arc::clone(&running.sending);
    until("nothing is sent", SECOND * 5, || {
        sending.load(Ordering::SeqCst) == 1
    })
    .await;
    let start = Instant::now();
    let closed = tokio::time::timeout(SECOND * 10, running.close());
    closed.await.expect("it stops");
    let took = start.elapsed();
    assert!(took >= SECOND / 2 && took < SECOND * 5, "{took:?}");
    reading.await.unwrap();
}
