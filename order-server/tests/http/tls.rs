//! TLS: who speaks it is served, and who does not speak it, or slowly, is not waited for.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use order_server::{
    config::Tls,
    connections::{ConnectionLimits, serve},
};
use poem::{Request, Response, endpoint::make_sync};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};
use tokio_util::sync::CancellationToken;

const NAME: &str = "orders.test";
const HEADER_TIMEOUT: Duration = Duration::from_secs(1);

/// A certificate and its key, in files.
struct Files {
    dir: tempfile::TempDir,
    certificate: CertificateDer<'static>,
}

impl Files {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = made;
        std::fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        Self {
            dir,
            certificate: cert.der().clone(),
        }
    }

    fn settings(&self) -> Tls {
        Tls {
            tls_cert: Some(self.dir.path().join("cert.pem")),
            tls_key: Some(self.dir.path().join("key.pem")),
        }
    }

    /// Shakes hands, as somebody who trusts the certificate for its name.
    async fn greet(&self, address: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(NAME).unwrap();
        connector.connect(name, stream).await.unwrap()
    }
}

/// A server that answers with the scheme of the request, and takes two connections.
async fn run(files: &Files) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let endpoint = make_sync(|request: Request| Response::from(request.scheme().to_string()));
    let limits = ConnectionLimits::new(2, HEADER_TIMEOUT);
    let tls = files.settings().acceptor().unwrap();
    tokio::spawn(serve(listener, endpoint, limits, tls, stop.clone()));
    (address, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_over_tls() {
    let files = Files::make();
    let (address, stop) = run(&files).await;
    let mut stream = files.greet(address, &["http/1.1"]).await;
    for _ in 0..2 {
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = std::str::from_utf8(&answer[..read]).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhttps"), "{answer}");
    }
    let both = files.greet(address, &["h2", "http/1.1"]).await;
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let files = Files::make();
    let (address, stop) = run(&files).await;
    let start = Instant::now();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "served without TLS");
    assert!(start.elapsed() < HEADER_TIMEOUT, "at once");
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
    let took = start.elapsed();
    assert!(
        took >= HEADER_TIMEOUT && took < HEADER_TIMEOUT * 3,
        "{took:?}"
    );

    // Two that are served, and one too many.
    let _one = files.greet(address, &[]).await;
    let _two = files.greet(address, &[]).await;
    let mut third = TcpStream::connect(address).await.unwrap();
    assert_eq!(third.read(&mut [0; 1]).await.unwrap(), 0);
    stop.cancel();
}

fn server(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_order-server"))
        .args(arguments)
        .current_dir(dir)
        .env("BIND_ADDR", "127.0.0.1:0")
        .env_remove("DATABASE_URL")
        .output()
        .unwrap()
}

#[test]
fn what_cannot_be_used_stops_the_start_and_is_named() {
    let files = Files::make();
    let dir = files.dir.path();
    let other = KeyPair::generate().unwrap();
    std::fs::write(dir.join("other.pem"), other.serialize_pem()).unwrap();
    std::fs::write(dir.join("empty.pem"), "").unwrap();
    for (arguments, named) in [
        (&["--tls-cert", "cert.pem"][..], "tls-key"),
        (&["--tls-key", "key.pem"], "tls-cert"),
        (
            &["--tls-cert", "none.pem", "--tls-key", "key.pem"],
            "none.pem",
        ),
        (
            &["--tls-cert", "cert.pem", "--tls-key", "none.pem"],
            "none.pem",
        ),
        (
            &["--tls-cert", "empty.pem", "--tls-key", "key.pem"],
            "empty.pem",
        ),
        (
            &["--tls-cert", "cert.pem", "--tls-key", "cert.pem"],
            "cert.pem",
        ),
        (
            &["--tls-cert", "cert.pem", "--tls-key", "other.pem"],
            "other.pem",
        ),
    ] {
        let refused = server(dir, arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains(named), "{arguments:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(!told.contains("PRIVATE KEY"), "{told}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = server(dir, &["--bind-addr", &address]);
    let told = String::from_utf8(refused.stderr).unwrap();
    let reason = "address already in use";
    assert_eq!(
        told,
        format!("order-server: cannot listen on {address} (set BIND_ADDR): {reason}\n")
    );
}
