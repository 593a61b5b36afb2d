//! A process that is out of descriptors. Alone in its file: it takes them from itself.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use order_server::connections::{ConnectionLimits, serve};
use poem::{Response, endpoint::make_sync};
use rlimit::Resource;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Counts the lines of the log that tell of it.
#[derive(Clone, Default)]
struct Complaints(Arc<AtomicUsize>);

impl io::Write for Complaints {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(line);
        let told = line.matches("cannot accept connections").count();
        self.0.fetch_add(told, Ordering::SeqCst);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).await?;
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_the_server_waits_and_goes_on() {
    let complaints = Complaints::default();
    let writer = complaints.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let endpoint = make_sync(|_| Response::from("done"));
    let limits = ConnectionLimits::new(1_000, Duration::from_secs(60));
    let served = tokio::spawn(serve(listener, endpoint, limits, None, stop.clone()));
    let mut first = TcpStream::connect(address).await.unwrap();
    ask(&mut first).await.unwrap();

    // The client's end takes the last descriptor, and the server's finds none.
    let (usual, most) = Resource::NOFILE.get().unwrap();
    let mut hoard = Vec::new();
    Resource::NOFILE.set(usual.min(256), most).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }
    hoard.pop();
    let mut late = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let told = || complaints.0.load(Ordering::SeqCst);
    while told() < 3 {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{} times",
            told()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        start.elapsed() > Duration::from_millis(300),
        "it does not spin"
    );
    ask(&mut first).await.unwrap();

    drop(hoard);
    Resource::NOFILE.set(usual, most).unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(5), ask(&mut late));
    answered.await.expect("served again").unwrap();
    stop.cancel();
    served.await.unwrap().unwrap();
}
