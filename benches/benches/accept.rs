//! Accepting orders: requests that share a group, and one insert per transaction. Durable
//! Postgres.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macro; panicking tells.

use std::{sync::Arc, time::Duration};

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use order_core::{
    bench::{Bench, Case, Contestant, Shape},
    store::Strategy,
    testing::PostgresServer,
};
use tokio::runtime::Runtime;

fn accept(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let postgres = PostgresServer::start(true);
    let store = Arc::new(runtime.block_on(postgres.store()));
    let bench = Bench::new(store, None, Shape::Hot);
    let bench = runtime.block_on(bench).unwrap();
    let mut group = criterion.benchmark_group("accept");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for (name, contestant, orders) in [
        ("grouped", Contestant::Batch, 20_000),
        (
            "one by one x8",
            Contestant::Single(Strategy::RowLock, 8),
            800,
        ),
    ] {
        group.throughput(Throughput::Elements(orders as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|iterations| {
                let measure = || bench.measure(Case::Accept, contestant, orders);
                (0..iterations)
                    .map(|_| runtime.block_on(measure()).unwrap().elapsed)
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, accept);
criterion_main!(benches);
