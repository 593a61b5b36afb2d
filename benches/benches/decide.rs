//! The decision itself: a batch of 1 000 orders, with the stock in memory.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macro; panicking tells.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use order_core::{
    decision::BatchStock,
    domain::{MAX_STOCK, ProductId, Quantity, RequestedLine},
};
use uuid::Uuid;

const ORDERS: u128 = 1_000;

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(ORDERS as u64));
    for (name, products, lines) in [("hot", 1, 1), ("spread", 1_000, 1), ("5 lines", 1_000, 5)] {
        let product = |number: u128| ProductId(Uuid::from_u128(number % products));
        let orders: Vec<Vec<RequestedLine>> = (0..ORDERS)
            .map(|order| {
                (0..lines)
                    .map(|line| RequestedLine {
                        product_id: product(order * 7 + line),
                        quantity: Quantity::new(1).unwrap(),
                    })
                    .collect()
            })
            .collect();
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let mut batch_stock = BatchStock::with_capacity(1_000);
                for number in 0..products {
                    batch_stock.insert(product(number), MAX_STOCK, true);
                }
                orders
                    .iter()
                    .filter(|lines| batch_stock.decide(lines).is_ok())
                    .count()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
