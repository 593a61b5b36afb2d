//! Reading a product over HTTP, through the cache, beside an answer that needs nothing.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macro; panicking tells.

use std::time::Duration;

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use order_core::{store::Strategy, testing::PostgresServer};
use orders_benches::{
    http::{Amount, Request, load},
    server::ServerProcess,
};
use tokio::runtime::Runtime;

const REQUESTS: usize = 20_000;

fn product_read_http(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let postgres = PostgresServer::start(true);
    let url = runtime.block_on(postgres.database());
    let server = ServerProcess::start(&url, Strategy::Batch);
    let server = runtime.block_on(server).unwrap();
    let servers = [server.address];
    let mut group = criterion.benchmark_group("product_read_http");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .measurement_time(Duration::from_secs(5))
        .throughput(Throughput::Elements(REQUESTS as u64));
    let product = format!("/api/v1/products/{}", server.product);
    for (name, path) in [("cached product", product.as_str()), ("health", "/health")] {
        let request = Request::get(path);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|iterations| {
                let amount = Amount::Requests(REQUESTS);
                let load = || load(&servers, &request, 64, amount, 1);
                (0..iterations)
                    .map(|_| runtime.block_on(load()).unwrap().elapsed)
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, product_read_http);
criterion_main!(benches);
