//! Deciding a backlog: the three strategies, with one hot product, 1 000 in the same demand,
//! and 1 000 by Zipf's law. Durable Postgres.
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

fn validation(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let postgres = PostgresServer::start(true);
    for (name, shape) in [
        ("hot", Shape::Hot),
        ("spread", Shape::Spread(1_000)),
        ("zipf", Shape::Zipf(1_000)),
    ] {
        let store = Arc::new(runtime.block_on(postgres.store()));
        let bench = runtime.block_on(Bench::new(store, None, shape)).unwrap();
        let mut group = criterion.benchmark_group(format!("validation/{name}"));
        group
            .sampling_mode(SamplingMode::Flat)
            .sample_size(10)
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(5));
        for (contestant, orders) in [
            (Contestant::Batch, 20_000),
            (Contestant::Single(Strategy::RowLock, 8), 400),
            (Contestant::Single(Strategy::ConditionalUpdate, 8), 400),
        ] {
            group.throughput(Throughput::Elements(orders as u64));
            group.bench_function(BenchmarkId::from_parameter(contestant), |bencher| {
                bencher.iter_custom(|iterations| {
                    let measure = || bench.measure(Case::Decide, contestant, orders);
                    (0..iterations)
                        .map(|_| runtime.block_on(measure()).unwrap().elapsed)
                        .sum()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, validation);
criterion_main!(benches);
