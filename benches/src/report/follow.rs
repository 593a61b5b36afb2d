//! Thousands who follow orders, each until its final state.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use order_core::{
    OrderService,
    bench::{Figures, Sample},
    clock::{Clock, SystemClock},
    domain::{OrderId, OrderRequest, ProductId, Quantity},
    store::{OrderStore, PostgresStore, Selection, Strategy},
    testing::PostgresServer,
};
use orders_benches::{
    http::{Request, Stream},
    server::ServerProcess,
};
use sqlx::PgPool;
use tokio::{task::JoinSet, time::sleep};

use super::{Bar, Measured};

const STREAMS: usize = 2_000;
const WAITING: usize = 200;
const FEW: usize = 20;
/// Decided together.
const BATCH: usize = 1_000;
const WATCHED: Duration = Duration::from_secs(6);

/// The product has no pieces, so that each order fails: a final state, at which streams end.
/// The decisions are made here, so that the server sees them as those of another process.
pub async fn follow() -> anyhow::Result<Measured> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let postgres = PostgresServer::start(true);
    let url = postgres.database().await;
    let server = ServerProcess::start_with(&url, Strategy::Batch, 0, &[]).await?;
    let store = PostgresStore::connect(&url).await?;
    let orders = accept(&store, server.product.parse()?).await?;

    let mut followers = JoinSet::new();
    let mut rates = Vec::new();
    let (few, rest) = orders.split_at(FEW);
    for (part, streams) in [(few, FEW), (rest, STREAMS - FEW)] {
        for (at, id) in part.iter().enumerate() {
            let mut stream = open(&server, *id, at < streams).await?;
            let id = *id;
            followers.spawn(async move {
                stream.until("\"status\":\"failed\"").await?;
                anyhow::Ok((id, Instant::now()))
            });
        }
        rates.push(queries_per_second(store.pool()).await?);
    }
    let decided = decide(&store).await?;
    let mut delays = Vec::new();
    while let Some(follower) = followers.join_next().await {
        let (id, seen) = follower??;
        delays.push(seen.saturating_duration_since(decided[&id]));
    }
    let worst_ms = delays
        .iter()
        .max()
        .map_or(0.0, |worst| worst.as_secs_f64() * 1e3);
    let sample = Sample {
        orders: delays.len(),
        elapsed: WATCHED,
        latencies: delays,
    };
    let figures = Figures::of(&[sample]);
    let mut measured = Measured::new("http-follow", Vec::new());
    measured.claim(
        "followers told",
        (STREAMS + WAITING) as f64,
        Bar::AtLeast(2_200.0),
    );
    measured.claim("delay, p50 ms", figures.p50_ms, Bar::AtMost(500.0));
    measured.claim("delay, p99 ms", figures.p99_ms, Bar::AtMost(500.0));
    measured.claim("delay, worst ms", worst_ms, Bar::AtMost(500.0));
    measured.claim("queries a second, 20 followed", rates[0], Bar::AtMost(50.0));
    measured.claim(
        "queries a second, 2 200 followed",
        rates[1],
        Bar::AtMost(50.0),
    );
    Ok(measured)
}

async fn accept(store: &PostgresStore, product: ProductId) -> anyhow::Result<Vec<OrderId>> {
    let service = OrderService::builder(Arc::new(store.clone())).build();
    let order = OrderRequest::one(product, Quantity::new(1)?);
    let accepted = service.accept_all(vec![order; STREAMS + WAITING]).await;
    let ids = accepted
        .into_iter()
        .map(|order| order.map(|order| order.id));
    Ok(ids.collect::<Result<_, _>>()?)
}

/// A stream that has told the first state, or a request that waits.
async fn open(server: &ServerProcess, id: OrderId, is_stream: bool) -> anyhow::Result<Stream> {
    if is_stream {
        let events = Request::get(&format!("/api/v1/orders/{id}/events"));
        let mut stream = Stream::open(server.address, &events).await?;
        stream.until("\"status\":\"pending\"").await?;
        return Ok(stream);
    }
    let waiting = Request::get_with(&format!("/api/v1/orders/{id}"), "prefer: wait=30");
    Stream::open(server.address, &waiting).await
}

/// When each order was decided, at the latest.
async fn decide(store: &PostgresStore) -> anyhow::Result<HashMap<OrderId, Instant>> {
    let mut decided = HashMap::new();
    while decided.len() < STREAMS + WAITING {
        let oldest = Selection::Oldest(BATCH);
        let outcome = store
            .decide(oldest, Strategy::Batch, SystemClock.now())
            .await?;
        let now = Instant::now();
        decided.extend(outcome.results.into_iter().map(|(id, _)| (id, now)));
    }
    Ok(decided)
}

/// The transactions per second of the database while orders are followed and nothing else happens.
async fn queries_per_second(pool: &PgPool) -> anyhow::Result<f64> {
    // Sessions report their transactions once a second.
    sleep(Duration::from_secs(2)).await;
    let before = transactions(pool).await?;
    sleep(WATCHED).await;
    Ok((transactions(pool).await? - before) as f64 / WATCHED.as_secs_f64())
}

async fn transactions(pool: &PgPool) -> anyhow::Result<i64> {
    let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}
