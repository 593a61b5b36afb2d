//! Every queue that we ship, through the same suite.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{sync::Arc, time::Duration};

use order_core::{
    domain::{IdGenerator, OrderId},
    queue::{OrderQueue, RedisQueue, Topic},
    store::{PostgresStore, SqliteStore, Store},
    testing::{
        PostgresServer, PostgresTime, RedisServer, RedisTime, ReferenceStore, SqliteTime,
        conformance::{self, Time, start},
    },
};

fn fresh(
    queue: impl OrderQueue + 'static,
    time: Arc<dyn Time>,
) -> (Arc<dyn OrderQueue>, Arc<dyn Time>) {
    (Arc::new(queue), time)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_the_reference_store_conforms() {
    conformance::queue(async || {
        let reference = ReferenceStore::default();
        let queue = reference.queue().unwrap();
        let time: Arc<dyn Time> = Arc::new(reference);
        (queue, time)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_queue_conforms() {
    conformance::queue(async || {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap()
            .keep();
        let url = format!("sqlite://{}", dir.join("orders.db").display());
        let store = SqliteStore::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        fresh(store.queue(), Arc::new(SqliteTime::new(&url)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_postgres_queue_conforms() {
    conformance::queue(async || {
        let url = PostgresServer::shared().database().await;
        let store = PostgresStore::connect(&url).await.unwrap();
        fresh(store.queue(), Arc::new(PostgresTime::new(&url)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_queue_conforms() {
    let server = RedisServer::start();
    conformance::queue(async || {
        server.flush();
        let time = Arc::new(RedisTime::new(server.client()));
        fresh(RedisQueue::new(server.client()), time)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redis_queue_conforms_on_a_cluster() {
    let nodes = RedisServer::start_cluster();
    conformance::queue(async || {
        nodes.iter().for_each(RedisServer::flush);
        // Not every node has the slot of the queue: each of them leads to it.
        let time = Arc::new(RedisTime::new(nodes[1].client()));
        fresh(RedisQueue::new(nodes[0].client()), time)
    })
    .await;
}

fn orders(count: usize) -> Vec<OrderId> {
    let ids = IdGenerator::default();
    (0..count).map(|_| OrderId(ids.next(start()))).collect()
}

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_set_aside() {
    let server = RedisServer::start();
    let queue = RedisQueue::new(server.client());
    let orders = orders(2);
    queue.push(Topic::Validate, &orders[..1]).await.unwrap();
    for rubbish in [["rubbish", "1"], ["order", "not an id"]] {
        let _ = server.cli(&[
            "XADD",
            "{orders}:validate:stream",
            "*",
            rubbish[0],
            rubbish[1],
        ]);
    }
    queue.push(Topic::Validate, &orders[1..]).await.unwrap();
    let leases = queue
        .claim(Topic::Validate, 9, LEASE, Duration::ZERO)
        .await
        .unwrap();
    let claimed: Vec<OrderId> = leases.iter().map(|lease| lease.order_id).collect();
    assert_eq!(claimed, orders);
    assert_eq!(queue.ack(Topic::Validate, leases).await.unwrap(), 2);
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight), (0, 0));
    assert_eq!(
        server.cli(&["LLEN", "{orders}:validate:malformed"]).trim(),
        "2"
    );
}

#[tokio::test]
async fn a_claim_waits_for_the_next_entry() {
    let server = RedisServer::start();
    let queue = Arc::new(RedisQueue::new(server.client()));
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            queue
                .claim(Topic::Validate, 9, LEASE, Duration::from_secs(2))
                .await
        }
    });
    while !server.cli(&["CLIENT", "LIST"]).contains("cmd=xreadgroup") {
        tokio::task::yield_now().await;
    }
    let one = orders(1);
    queue.push(Topic::Validate, &one).await.unwrap();
    let leases = waiting.await.unwrap().unwrap();
    assert_eq!(leases[0].order_id, one[0]);
    assert_eq!(queue.ack(Topic::Validate, leases).await.unwrap(), 1);
}

/// Consumed entries leave nothing behind, however many they were.
#[tokio::test]
async fn consumed_entries_free_their_memory() {
    let server = RedisServer::start();
    let queue = RedisQueue::new(server.client());
    let used = || -> u64 {
        let info = server.cli(&["INFO", "memory"]);
        let line = info
            .lines()
            .find(|line| line.starts_with("used_memory:"))
            .unwrap();
        line["used_memory:".len()..].trim().parse().unwrap()
    };
    let mut after_round = Vec::new();
    for _ in 0..4 {
        for chunk in orders(20_000).chunks(1_000) {
            queue.push(Topic::Validate, chunk).await.unwrap();
        }
        loop {
            let leases = queue
                .claim(Topic::Validate, 1_000, LEASE, Duration::ZERO)
                .await
                .unwrap();
            if leases.is_empty() {
                break;
            }
            queue.ack(Topic::Validate, leases).await.unwrap();
        }
        after_round.push(used());
    }
    let growth = after_round[3].saturating_sub(after_round[0]);
    assert!(growth < 500_000, "memory after each round: {after_round:?}");
}
