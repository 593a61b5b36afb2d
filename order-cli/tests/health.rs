//! `order-cli health` over TLS, as a container asks.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{path::Path, process::Command, sync::Arc};

use order_core::{OrderService, store};
use order_server::{
    Server,
    auth::KeyCache,
    config::{HttpLimits, Tls},
    serve,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A certificate and its key, in two files.
fn certificate(dir: &Path, name: &str) -> Tls {
    let made = rcgen::generate_simple_self_signed(["orders.test".to_owned()]).unwrap();
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Tls {
        tls_cert: Some(cert),
        tls_key: Some(key),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_asked_with_its_own_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (
        certificate(dir.path(), "ours"),
        certificate(dir.path(), "other"),
    );
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let store = store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let server = Server {
        keys: Arc::new(KeyCache::load(store.clone()).await.unwrap()),
        service: OrderService::builder(store).build(),
        worker: None,
        http: HttpLimits::default(),
        tls: ours.acceptor().unwrap(),
        redis: None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, server, stop.clone()));
    let health = |tls: &Tls| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-cli"));
        command.args(["health", "--bind-addr", &address]);
        if let Some(cert) = &tls.tls_cert {
            command.arg("--tls-cert").arg(cert);
        }
        command.status().unwrap().code()
    };
    assert_eq!(health(&ours), Some(0));
    assert_eq!(health(&other), Some(1), "another server");
    assert_eq!(health(&Tls::default()), Some(1), "it speaks TLS");
    stop.cancel();
    served.await.unwrap().unwrap();
}
