//! Settings at the ends of their ranges: each works, or is refused by its name. Nothing panics.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod numbers;

use std::{ffi::OsString, time::Duration};

use clap::CommandFactory;
use order_core::domain::{OrderRequest, OrderStatus, ProductRequest, Quantity};
use order_server::{
    Server,
    config::{Settings, parse_from},
    serve,
};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use numbers::{Panics, is_a_number};

const VALUES: [u64; 4] = [0, 1, u32::MAX as u64, u64::MAX];
const LIMIT: Duration = Duration::from_secs(20);

/// Every setting that is a number, as the program knows it: a new one is tried by itself.
fn numbers() -> Vec<String> {
    let command = Settings::command();
    let numbers = command.get_arguments().filter(|one| is_a_number(one));
    numbers.map(|one| one.get_id().to_string()).collect()
}

/// Sells through a server with these settings, in both ways, over HTTP and from within.
async fn sell(settings: Settings, client: reqwest::Client) {
    let server = Server::open(&settings).await.unwrap();
    let service = server.service.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, server, stop.clone()));
    // Any answer will do, and none: a request may have a millisecond.
    for path in ["/health/ready", "/api/v1/products", "/metrics"] {
        let _ = client.get(format!("{origin}{path}")).send().await;
    }
    let product = ProductRequest::new("p", "1".parse().unwrap(), 10, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    let one = OrderRequest::one(product, Quantity::new(1).unwrap());
    service.purchase(one.clone()).await.unwrap();
    service.read_product(product).await.unwrap();
    let accepted = service.accept(one).await.unwrap().id;
    let decided = async {
        while service.order(accepted).await.unwrap().unwrap().status == OrderStatus::Pending {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, decided).await.unwrap();
    stop.cancel();
    timeout(LIMIT, served).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_makes_the_server_panic() {
    let panics = Panics::record();
    let numbers = numbers();
    for known in [
        "max_waiting",
        "process_delay_ms",
        "rate_limit_burst",
        "cache_ttl",
    ] {
        assert!(numbers.iter().any(|name| name == known), "{numbers:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2));
    let client = client.build().unwrap();
    let mut wrong = Vec::new();
    for name in &numbers {
        let mut selling = JoinSet::new();
        for value in VALUES {
            let database = format!(
                "--database-url=sqlite://{}/{value}.db",
                dir.path().display()
            );
            let flag = format!("--{}={value}", name.replace('_', "-"));
            let mut arguments = vec!["order-server", &database, &flag];
            if name == "rate_limit_burst" {
                arguments.push("--rate-limit=1000000");
            }
            match parse_from(arguments.into_iter().map(Into::into), "") {
                // A task that fails panics, too.
                Ok(settings) => drop(selling.spawn(sell(settings, client.clone()))),
                Err(error) => wrong.extend(unnamed(name, value, &error)),
            }
            let program = [OsString::from("order-server")];
            let by_file = parse_from::<Settings>(program, &format!("{name} = {value}"));
            wrong.extend(by_file.err().and_then(|error| unnamed(name, value, &error)));
        }
        while selling.join_next().await.is_some() {}
        wrong.extend(
            panics
                .take()
                .into_iter()
                .map(|panic| format!("{name}: {panic}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A refusal that does not say what it refuses.
fn unnamed(name: &str, value: u64, error: &clap::Error) -> Option<String> {
    let error = error.to_string();
    let is_named = error.contains(name) || error.contains(&name.replace('_', "-"));
    (!is_named).then(|| format!("{name} = {value}: {error}"))
}
