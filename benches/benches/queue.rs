//! Queues: by themselves, 10 000 entries pushed, claimed and consumed in batches; and from
//! accepted to decided, with the queue in the database and on Redis, where 20 000 orders for
//! one product are accepted in bulk while a worker decides, until none is pending.
//!
//! Postgres and `SQLite` are durable here: each commit waits for the disk.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macro; panicking tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use order_core::{
    OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{IdGenerator, MAX_STOCK, OrderId, OrderRequest, ProductRequest, Quantity},
    queue::{OrderQueue, RedisQueue, Topic},
    store::{SqliteStore, Store},
    testing::{PostgresServer, RedisServer},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const ORDERS: usize = 20_000;

async fn accept_until_decided(service: &OrderService, order: &OrderRequest) -> Duration {
    let start = Instant::now();
    let accepted = service.accept_all(vec![order.clone(); ORDERS]).await;
    assert!(accepted.iter().all(Result::is_ok));
    while !service
        .store()
        .pending_for(Duration::ZERO, None, 1)
        .await
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

fn accept_to_decided(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (postgres, redis) = (PostgresServer::start(true), RedisServer::start());
    let mut group = criterion.benchmark_group("accept_to_decided");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(20))
        .throughput(Throughput::Elements(ORDERS as u64));
    // Twice each, in turn: what the machine does in between shows.
    for (name, on_redis) in [
        ("database", false),
        ("redis", true),
        ("database again", false),
        ("redis again", true),
    ] {
        let (service, order) = runtime.block_on(async {
            let store: Arc<dyn Store> = Arc::new(postgres.store().await);
            let mut builder = OrderService::builder(store);
            if on_redis {
                builder = builder.queue(Arc::new(RedisQueue::new(redis.client())));
            }
            let service = builder.build();
            let product = ProductRequest::new("hot", "1".parse().unwrap(), MAX_STOCK, None);
            let product = service.create_product(product.unwrap()).await.unwrap();
            (
                service,
                OrderRequest::one(product.id, Quantity::new(1).unwrap()),
            )
        });
        let stop = CancellationToken::new();
        let (worker, told) = (service.worker(WorkerOptions::default()), stop.clone());
        let worker = runtime.spawn(async move { worker.run(told).await });
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(async {
                    let mut total = Duration::ZERO;
                    for _ in 0..iterations {
                        total += accept_until_decided(&service, &order).await;
                    }
                    total
                })
            });
        });
        stop.cancel();
        runtime.block_on(worker).unwrap();
    }
    group.finish();
}

async fn push_claim_ack(queue: &dyn OrderQueue, ids: &[OrderId]) -> Duration {
    const LEASE: Duration = Duration::from_secs(60);
    let start = Instant::now();
    for batch in ids.chunks(1_000) {
        queue.push(Topic::Process, batch).await.unwrap();
    }
    let mut consumed = 0;
    while consumed < ids.len() {
        let claim = queue.claim(Topic::Process, 1_000, LEASE, Duration::ZERO);
        let leases = claim.await.unwrap();
        consumed += queue.ack(Topic::Process, leases).await.unwrap();
    }
    start.elapsed()
}

fn queues(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (postgres, redis) = (PostgresServer::start(true), RedisServer::start());
    let dir = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}", dir.path().join("orders.db").display());
    let sqlite = runtime.block_on(SqliteStore::connect(&sqlite)).unwrap();
    runtime.block_on(sqlite.migrate()).unwrap();
    let postgres = runtime.block_on(postgres.store());
    let queues: [(&str, Box<dyn OrderQueue>); 3] = [
        ("redis", Box::new(RedisQueue::new(redis.client()))),
        ("postgres", Box::new(postgres.queue())),
        ("sqlite", Box::new(sqlite.queue())),
    ];
    let mut group = criterion.benchmark_group("queue");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .throughput(Throughput::Elements(10_000));
    for (name, queue) in queues {
        let ids = IdGenerator::default();
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| {
                        let new = |_| OrderId(ids.next(SystemClock.now()));
                        let ids: Vec<OrderId> = (0..10_000).map(new).collect();
                        runtime.block_on(push_claim_ack(queue.as_ref(), &ids))
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, queues, accept_to_decided);
criterion_main!(benches);
