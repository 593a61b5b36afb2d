//! Connections to Redis that fall silent are given up and replaced, whatever they are for.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::time::{Duration, Instant};

use chrono::DateTime;
use order_core::{
    Error, RedisClient,
    cache::{Entry, ProductCache, RedisCache},
    domain::{IdGenerator, OrderId, Product, ProductId},
    queue::{OrderQueue, RedisQueue, Topic},
    testing::{RedisServer, TcpProxy, conformance::start},
};

const LIMIT: Duration = Duration::from_millis(500);
/// The time for which calls through a connection that fell silent may fail.
const RECOVERY: Duration = Duration::from_secs(4);

/// Everything that a process has of a Redis.
struct Process {
    client: RedisClient,
    queue: RedisQueue,
    cache: RedisCache,
    products: Vec<Product>,
}

impl Process {
    fn of(port: u16) -> Self {
        let client = RedisClient::new(&format!("redis://127.0.0.1:{port}"), LIMIT).unwrap();
        let ids = IdGenerator::default();
        // Enough for every node of a cluster.
        let products = (0..30).map(|number| Product {
            terms: order_core::domain::SaleTerms::default(),
            id: ProductId(ids.next(start())),
            sku: None,
            name: format!("p{number}"),
            price: "1".parse().unwrap(),
            stock: 1,
            version: 1,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        });
        Self {
            queue: RedisQueue::new(client.clone()),
            cache: RedisCache::new(client.clone(), Duration::from_secs(300)),
            products: products.collect(),
            client,
        }
    }

    async fn ping(&self) -> Result<(), Error> {
        self.client.ping().await
    }

    async fn read(&self) -> Result<(), Error> {
        let entries: Vec<Entry> = self.products.iter().cloned().map(Entry::Active).collect();
        self.cache.put(&entries, self.cache.mark()).await?;
        for product in &self.products {
            let kept = self.cache.get(product.id).await?;
            assert_eq!(kept, Some(Entry::Active(product.clone())));
        }
        Ok(())
    }

    async fn decide(&self) -> Result<(), Error> {
        let (topic, lease) = (Topic::Validate, Duration::from_secs(30));
        let order = OrderId(IdGenerator::default().next(start()));
        self.queue.push(topic, &[order]).await?;
        let claimed = self.queue.claim(topic, 9, lease, Duration::ZERO).await?;
        assert!(claimed.iter().any(|lease| lease.order_id == order));
        self.queue.ack(topic, claimed).await?;
        Ok(())
    }

    /// On the connection of its own that claims wait on.
    async fn wait(&self) -> Result<(), Error> {
        let (topic, lease) = (Topic::Process, Duration::from_secs(30));
        let waited = self.queue.claim(topic, 9, lease, Duration::from_millis(50));
        assert_eq!(waited.await?, []);
        Ok(())
    }

    /// Waits until everything works, each for itself, and gives how long the last took.
    async fn works(&self) -> Duration {
        let (one, two, three, four) = tokio::join!(
            recovers(|| self.ping()),
            recovers(|| self.read()),
            recovers(|| self.decide()),
            recovers(|| self.wait()),
        );
        [one, two, three, four].into_iter().max().unwrap()
    }
}

/// Who does not wait for as long as an answer may take finds no connection that stays silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced_for_the_impatient() {
    let server = RedisServer::start();
    let proxy = TcpProxy::to(server.port()).await;
    let process = Process::of(proxy.port());
    let cache = &process.cache;
    let id = process.products[0].id;
    cache.get(id).await.unwrap();
    proxy.silence();
    let start = Instant::now();
    let patience = LIMIT / 5;
    while !matches!(
        tokio::time::timeout(patience, cache.get(id)).await,
        Ok(Ok(_))
    ) {
        assert!(start.elapsed() < RECOVERY, "it stays silent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The time until `work` is done.
async fn recovers<F: Future<Output = Result<(), Error>>>(work: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    while let Err(error) = work().await {
        let took = start.elapsed();
        assert!(took < RECOVERY, "after {took:?}: {}", error.with_causes());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_replaced() {
    let server = RedisServer::start();
    let proxy = TcpProxy::to(server.port()).await;
    let process = Process::of(proxy.port());
    process.works().await;
    for round in 0..3 {
        let before = proxy.connections();
        proxy.silence();
        let took = process.works().await;
        let made = proxy.connections() - before;
        assert!(made >= 4, "round {round}: only {made} new connections");
        eprintln!("round {round}: {took:?}, {made} new connections");
    }
    // The silent ones are closed: what is left is what is used.
    let used = server.cli(&["CLIENT", "LIST", "TYPE", "NORMAL"]);
    assert!(used.lines().count() <= 30, "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_to_the_nodes_of_a_cluster_are_replaced() {
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(TcpProxy::to(1).await);
    }
    let ports = [proxies[0].port(), proxies[1].port(), proxies[2].port()];
    let nodes = RedisServer::start_cluster_behind(ports);
    for (proxy, node) in proxies.iter().zip(&nodes) {
        proxy.lead_to(node.port());
    }
    let process = Process::of(ports[0]);
    process.works().await;
    // One node after another, and then all at once.
    for silent in [&proxies[0..1], &proxies[1..2], &proxies[2..3], &proxies] {
        let before: Vec<u64> = silent.iter().map(TcpProxy::connections).collect();
        silent.iter().for_each(TcpProxy::silence);
        let took = process.works().await;
        eprintln!("{} silent: {took:?}", silent.len());
        for (proxy, before) in silent.iter().zip(before) {
            assert!(proxy.connections() > before, "no new connection");
        }
    }
}

/// The node that we were told of may be gone when the connection has to be made anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_found_by_any_node_that_was_known() {
    let nodes = RedisServer::start_cluster();
    let leads_in = TcpProxy::to(nodes[0].port()).await;
    let process = Process::of(leads_in.port());
    process.works().await;
    // Gone for good: nothing listens there any more.
    drop(leads_in);
    // Each node closes the connections that it has.
    for node in &nodes {
        let _ = node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    let took = process.works().await;
    eprintln!("{took:?}");
}
