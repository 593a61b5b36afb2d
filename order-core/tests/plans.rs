//! Decisions cost the same whatever the statistics say, and after many of them.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use order_core::{
    OrderService,
    clock::{Clock, SystemClock},
    domain::{MAX_STOCK, OrderRequest, ProductRequest, Quantity},
    store::{OrderStore, PostgresStore, Selection, Strategy},
    testing::PostgresServer,
};

const BATCH: usize = 1_000;

/// The median of five batches.
async fn batch(store: &PostgresStore) -> Duration {
    let mut took = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let pick = Selection::Oldest(BATCH);
        let decided = store.decide(pick, Strategy::Batch, SystemClock.now()).await;
        assert_eq!(decided.unwrap().results.len(), BATCH);
        took.push(start.elapsed());
    }
    took.sort_unstable();
    took[2]
}

/// The statistics are taken when nothing is pending, and when all is. A plan that trusts
/// them walks all that is pending (or all that is decided) for each order of a batch, and
/// takes a hundred times as long.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_as_long_with_wrong_statistics_as_with_right_ones() {
    let store = PostgresServer::shared().store().await;
    let service = OrderService::builder(Arc::new(store.clone())).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), MAX_STOCK, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    let accept = async |orders: usize| {
        let one = OrderRequest::one(product, Quantity::new(1).unwrap());
        let accepted = service.accept_all(vec![one; orders]).await;
        assert!(accepted.iter().all(Result::is_ok));
    };
    let run = async |statement: &'static str| {
        sqlx::query(statement).execute(store.pool()).await.unwrap();
    };
    run("ALTER TABLE orders SET (autovacuum_enabled = off)").await;
    run("ALTER TABLE order_lines SET (autovacuum_enabled = off)").await;
    accept(5 * BATCH).await;
    let none = batch(&store).await;

    run("ANALYZE").await;
    accept(20 * BATCH).await;
    let when_none_was_pending = batch(&store).await;
    run("ANALYZE").await;
    let fresh = batch(&store).await;
    for _ in 0..2 {
        batch(&store).await;
    }
    accept(5 * BATCH).await;
    let when_most_were_pending = batch(&store).await;

    for wrong in [none, when_none_was_pending, when_most_were_pending] {
        let limit = fresh * 8 + Duration::from_millis(200);
        assert!(
            wrong < limit,
            "with fresh statistics {fresh:?}; with none {none:?}; with those of no pending \
             order {when_none_was_pending:?}; of many {when_most_were_pending:?}"
        );
    }
}
