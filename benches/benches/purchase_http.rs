//! Buying one hot product over HTTP: a server that groups, and one with a lock per order, by
//! number of connections. Durable Postgres.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macro; panicking tells.

use std::time::Duration;

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use order_core::{store::Strategy, testing::PostgresServer};
use orders_benches::{
    http::{Amount, load},
    server::ServerProcess,
};
use tokio::runtime::Runtime;

fn purchase_http(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let postgres = PostgresServer::start(true);
    let mut group = criterion.benchmark_group("purchase_http");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for (strategy, connections, requests) in [
        (Strategy::Batch, 512, 10_000),
        (Strategy::RowLock, 512, 1_000),
        (Strategy::Batch, 1, 200),
        (Strategy::RowLock, 1, 200),
    ] {
        let url = runtime.block_on(postgres.database());
        let server = runtime
            .block_on(ServerProcess::start(&url, strategy))
            .unwrap();
        let servers = [server.address];
        let purchase = server.order("/api/v1/orders/purchase", 201);
        group.throughput(Throughput::Elements(requests as u64));
        group.bench_function(
            BenchmarkId::new(strategy.as_str(), connections),
            |bencher| {
                bencher.iter_custom(|iterations| {
                    let amount = Amount::Requests(requests);
                    let load = || load(&servers, &purchase, connections, amount, 1);
                    (0..iterations)
                        .map(|_| runtime.block_on(load()).unwrap().elapsed)
                        .sum()
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, purchase_http);
criterion_main!(benches);
