//! The server as its clients see it, in a process of its own.

use std::time::Duration;

use order_core::{
    bench::{Sample, median},
    store::Strategy,
    testing::PostgresServer,
};
use orders_benches::{
    http::{Amount, Request, load},
    server::ServerProcess,
};
use tokio::time::sleep;

use super::{Bar, Measured, take_turns};

const TURN: Amount = Amount::Time(Duration::from_secs(3));
const MANY: usize = 512;
const BULK_ORDERS: usize = 10_000;

/// A server that groups, and one that gives each order a transaction of its own: each on a
/// database of its own.
struct Pair {
    _postgres: PostgresServer,
    servers: [ServerProcess; 2],
}

impl Pair {
    async fn start() -> anyhow::Result<Self> {
        let postgres = PostgresServer::start(true);
        let urls = [postgres.database().await, postgres.database().await];
        let servers = [
            ServerProcess::start(&urls[0], Strategy::Batch).await?,
            ServerProcess::start(&urls[1], Strategy::RowLock).await?,
        ];
        Ok(Self {
            _postgres: postgres,
            servers,
        })
    }
}

/// Buying and accepting, by many clients and by one.
pub async fn sell(runs: usize) -> anyhow::Result<Vec<Measured>> {
    let pair = Pair::start().await?;
    let mut all = Vec::new();
    for (name, path, status, connections) in [
        ("http-purchase-512", "/api/v1/orders/purchase", 201, MANY),
        ("http-purchase-1", "/api/v1/orders/purchase", 201, 1),
        ("http-accept-512", "/api/v1/orders", 202, MANY),
    ] {
        let names = ["grouped", "one by one"].map(str::to_owned).to_vec();
        let rows = take_turns(names, runs, async |turn| {
            let server = &pair.servers[turn];
            let request = server.order(path, status);
            load(&[server.address], &request, connections, TURN, 1).await
        })
        .await?;
        let mut measured = Measured::new(name, rows);
        let ratio = measured.rate("grouped") / measured.rate("one");
        match name {
            "http-purchase-512" => {
                measured.claim("grouped / row lock per order", ratio, Bar::AtLeast(15.0));
            }
            "http-accept-512" => {
                measured.claim("grouped / insert per transaction", ratio, Bar::AtLeast(6.0));
            }
            _ => {
                let p50 = measured.rows[0].1.p50_ms / measured.rows[1].1.p50_ms;
                measured.claim("p50 grouped / row lock", p50, Bar::AtMost(1.1));
            }
        }
        all.push(measured);
    }
    Ok(all)
}

/// Many orders in one request, against one order each.
pub async fn bulk(runs: usize) -> anyhow::Result<Measured> {
    let pair = Pair::start().await?;
    let server = &pair.servers[0];
    let order = format!(r#"{{"product_id":"{}","quantity":1}}"#, server.product);
    let orders = vec![order; BULK_ORDERS].join(",");
    let bulk = Request::post(
        "/api/v1/orders/bulk",
        &format!(r#"{{"orders":[{orders}]}}"#),
        202,
    );
    let single = server.order("/api/v1/orders", 202);
    let names = ["bulk of 10 000, 2 connections", "single, 512 connections"];
    let rows = take_turns(names.map(str::to_owned).to_vec(), runs, async |turn| {
        let servers = [server.address];
        match turn {
            0 => load(&servers, &bulk, 2, TURN, BULK_ORDERS).await,
            _ => load(&servers, &single, MANY, TURN, 1).await,
        }
    })
    .await?;
    let mut measured = Measured::new("http-bulk", rows);
    let ratio = measured.rate("bulk") / measured.rate("single");
    measured.claim("bulk / single", ratio, Bar::AtLeast(3.0));
    Ok(measured)
}

/// A product from the cache, against an answer that needs nothing.
pub async fn read(runs: usize) -> anyhow::Result<Measured> {
    let pair = Pair::start().await?;
    let server = &pair.servers[0];
    let product = format!("/api/v1/products/{}", server.product);
    let names = ["cached product", "health"].map(str::to_owned).to_vec();
    let rows = take_turns(names, runs, async |turn| {
        let path = [product.as_str(), "/health"][turn];
        load(&[server.address], &Request::get(path), 64, TURN, 1).await
    })
    .await?;
    let mut measured = Measured::new("http-read", rows);
    let ratio = measured.rate("cached") / measured.rate("health");
    measured.claim("cached product / health", ratio, Bar::AtLeast(0.6));
    Ok(measured)
}

/// The same clients on two servers of one database, against one server.
pub async fn two_servers(runs: usize) -> anyhow::Result<Measured> {
    let postgres = PostgresServer::start(true);
    let url = postgres.database().await;
    let first = ServerProcess::start(&url, Strategy::Batch).await?;
    let second = ServerProcess::start(&url, Strategy::Batch).await?;
    // Both sell the product of the first.
    let purchase = first.order("/api/v1/orders/purchase", 201);
    let names = ["one server", "two servers"].map(str::to_owned).to_vec();
    let rows = take_turns(names, runs, async |turn| {
        let servers = [first.address, second.address];
        load(&servers[..=turn], &purchase, MANY, TURN, 1).await
    })
    .await?;
    let mut measured = Measured::new("http-two-servers", rows);
    let ratio = measured.rate("two") / measured.rate("one");
    measured.claim("two servers / one", ratio, Bar::AtLeast(0.9));
    Ok(measured)
}

/// A minute of purchases over many connections: what the server holds.
pub async fn memory() -> anyhow::Result<Measured> {
    let pair = Pair::start().await?;
    let server = &pair.servers[0];
    let purchase = server.order("/api/v1/orders/purchase", 201);
    let minute = Amount::Time(Duration::from_secs(60));
    let servers = [server.address];
    let sold = load(&servers, &purchase, MANY, minute, 1);
    let watched = async {
        let mut resident_mib = Vec::new();
        for _ in 0..11 {
            sleep(Duration::from_secs(5)).await;
            resident_mib.push(server.resident_mib()?);
        }
        anyhow::Ok(resident_mib)
    };
    let (sold, resident_mib): (Sample, Vec<f64>) = tokio::try_join!(sold, watched)?;
    let rows = vec![(
        "purchases".to_owned(),
        order_core::bench::Figures::of(&[sold]),
    )];
    let mut measured = Measured::new("http-memory", rows);
    // From 10 s on: the beginning against the end.
    let (start, end) = (median(&resident_mib[1..4]), median(&resident_mib[8..]));
    measured.claim("MiB at the end of a minute", end, Bar::AtMost(150.0));
    measured.claim("the end / from 10 s on", end / start, Bar::AtMost(1.1));
    Ok(measured)
}
