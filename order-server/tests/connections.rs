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

use futures_util::StreamExt;
use order_server::connections::{ConnectionLimits, serve};
use poem::{Body, Response, endpoint::make_sync};
use serde_json::{Value, json};
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
    let endpoint = make_sync(move |request| match request.uri().path() {
        "/endless" => Response::builder().body(endless(Arc::clone(&counter))),
        "/quiet" => Response::builder().body(quiet()),
        _ => Response::from("done"),
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

/// One byte, and then nothing for ever.
fn quiet() -> Body {
    let first = futures_util::stream::iter([Ok::<_, io::Error>("x")]);
    Body::from_bytes_stream(first.chain(futures_util::stream::pending()))
}

/// A request in HTTP/2 with these settings.
fn newer_request(settings: &[u8], path: &str) -> Vec<u8> {
    let length = |bytes: usize| u8::try_from(bytes).unwrap();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend([0, 0, length(settings.len()), 4, 0, 0, 0, 0, 0]);
    sent.extend(settings);
    sent.extend(b"\x00\x00\x00\x04\x01\x00\x00\x00\x00");
    let mut head = vec![0x82, 0x86, 0x04, length(path.len())];
    head.extend(path.as_bytes());
    head.extend(b"\x41\x01x");
    sent.extend([0, 0, length(head.len()), 1, 5, 0, 0, 0, 1]);
    sent.extend(head);
    sent
}

/// No window for what streams send.
const NO_WINDOW: &[u8] = b"\x00\x04\x00\x00\x00\x00";

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_opens_no_window_is_given_up() {
    let mut limits = ConnectionLimits::new(10, SECOND * 10);
    limits.write_timeout = SECOND;
    let running = run(limits).await;
    for (settings, path) in [
        (NO_WINDOW, "/"),
        (NO_WINDOW, "/endless"),
        (NO_WINDOW, "/quiet"),
        (b"", "/endless"),
    ] {
        let start = Instant::now();
        let mut stream = running.connect().await;
        let request = newer_request(settings, path);
        stream.write_all(&request).await.unwrap();
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(SECOND * 5, stream.read_to_end(&mut bytes)).await;
        assert!(
            ended.is_ok(),
            "{path} with {settings:?} is open after {:?}",
            start.elapsed()
        );
        assert!(start.elapsed() >= SECOND, "{:?}", start.elapsed());
    }
    until("nothing is sent", SECOND, || {
        running.sending.load(Ordering::SeqCst) == 0
    })
    .await;
    // Who has taken all that there is may wait for more.
    let mut patient = running.connect().await;
    patient
        .write_all(&newer_request(b"", "/quiet"))
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(SECOND * 2, patient.read_to_end(&mut bytes)).await;
    assert!(ended.is_err() && bytes.ends_with(b"x"), "{bytes:?}");
    running.close().await;
}

/// What the application never sees is a problem as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_with_a_problem() {
    let running = run(ConnectionLimits::new(100, SECOND * 10)).await;
    let large = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx-padding: {}\r\n\r\n",
        "x".repeat(1 << 17)
    );
    let lines: String = (0..200)
        .map(|number| format!("x-{number}: x\r\n"))
        .collect();
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    let long = format!(
        "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "x".repeat(66_000)
    );
    let lengths =
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    let both = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n";
    let coding = "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n";
    for (request, status, code) in [
        (large.as_str(), 431, "request_header_fields_too_large"),
        (&many, 431, "request_header_fields_too_large"),
        (&long, 431, "request_header_fields_too_large"),
        (lengths, 400, "malformed"),
        (both, 400, "malformed"),
        (coding, 400, "malformed"),
        ("GET\r\n\r\n", 400, "malformed"),
        ("G@T / HTTP/1.1\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/9.9\r\n\r\n", 400, "malformed"),
    ] {
        let shown: String = request.chars().take(60).collect();
        let stream = running.connect().await;
        let (mut reader, mut writer) = stream.into_split();
        // The server may have answered before it has read everything.
        let sent = tokio::spawn({
            let request = request.to_owned();
            async move { writer.write_all(request.as_bytes()).await.map(|()| writer) }
        });
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(SECOND * 20, reader.read_to_end(&mut bytes))
            .await
            .unwrap();
        drop(sent.await);
        let answer = String::from_utf8(bytes).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown}: {head}"
        );
        for header in [
            "content-type: application/problem+json",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{shown}: {head}");
        }
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!(code), &json!(status)),
            "{shown}"
        );
    }
    running.close().await;
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
