//! The cache before the store: never an old state after a new one, one query for many misses.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use order_core::{
    Error, OrderService,
    cache::{CacheMark, CacheStatus, Entry, LocalCache, ProductCache, RedisCache},
    domain::{
        OrderRequest, OrderStatus, Product, ProductChange, ProductId, ProductRequest, Quantity,
    },
    store::{OrderQuery, SqliteStore, Store},
    testing::RedisServer,
};
use tokio::sync::{Notify, Semaphore};

const TTL: Duration = Duration::from_secs(300);

/// A cache whose first write waits until it is let go: a reader that is slow between the
/// database and the cache.
struct SlowFirstPut {
    inner: Arc<dyn ProductCache>,
    puts: AtomicUsize,
    has_arrived: Notify,
    may_go: Semaphore,
}

#[async_trait]
impl ProductCache for SlowFirstPut {
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error> {
        self.inner.get(id).await
    }

    fn mark(&self) -> CacheMark {
        self.inner.mark()
    }

    async fn put(&self, entries: &[Entry], mark: CacheMark) -> Result<(), Error> {
        if self.puts.fetch_add(1, Ordering::SeqCst) == 0 {
            self.has_arrived.notify_one();
            self.may_go.acquire().await.unwrap().forget();
        }
        self.inner.put(entries, mark).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.inner.clear().await
    }

    fn entries(&self) -> Option<u64> {
        self.inner.entries()
    }
}

struct Shop {
    store: Arc<dyn Store>,
    service: OrderService,
    cache: Arc<SlowFirstPut>,
    product: Product,
}

async fn shop(inner: Arc<dyn ProductCache>) -> Shop {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let cache = Arc::new(SlowFirstPut {
        inner,
        puts: AtomicUsize::new(0),
        has_arrived: Notify::new(),
        may_go: Semaphore::new(0),
    });
    let store: Arc<dyn Store> = Arc::new(store);
    let service = OrderService::builder(Arc::clone(&store))
        .cache(Arc::clone(&cache) as Arc<dyn ProductCache>)
        .build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 10, None).unwrap();
    let product = service.create_product(product).await.unwrap();
    Shop {
        store,
        service,
        cache,
        product,
    }
}

fn caches(server: &RedisServer) -> [Arc<dyn ProductCache>; 2] {
    [
        Arc::new(LocalCache::new(TTL)),
        Arc::new(RedisCache::new(server.client(), TTL)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_cannot_bring_an_old_state_back() {
    let server = RedisServer::start();
    for cache in caches(&server) {
        let shop = shop(cache).await;
        let id = shop.product.id;
        let slow = tokio::spawn({
            let service = shop.service.clone();
            async move { service.read_product(id).await.unwrap() }
        });
        // It has read the old price, and is about to put it into the cache.
        shop.cache.has_arrived.notified().await;
        let change = ProductChange::default()
            .price("2".parse().unwrap())
            .unwrap();
        shop.service.update_product(id, &change).await.unwrap();
        let price = async || {
            let (product, status) = shop.service.read_product(id).await.unwrap();
            (product.unwrap().price.to_string(), status)
        };
        assert_eq!(price().await, ("2.00".to_owned(), CacheStatus::Hit));
        shop.cache.may_go.add_permits(1);
        let (old, _) = slow.await.unwrap();
        assert_eq!(
            old.unwrap().price.to_string(),
            "1.00",
            "it read before the change"
        );
        assert_eq!(price().await, ("2.00".to_owned(), CacheStatus::Hit));
    }
}

/// An entry is served for a second after its query began, and not after it ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_read_is_not_served_for_a_second_more() {
    let shop = shop(Arc::new(LocalCache::new(TTL))).await;
    let id = shop.product.id;
    let slow = tokio::spawn({
        let service = shop.service.clone();
        async move { service.read_product(id).await.unwrap() }
    });
    shop.cache.has_arrived.notified().await;
    // Whatever another process changes from now on, this read has not seen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    shop.cache.may_go.add_permits(1);
    assert_eq!(slow.await.unwrap().1, CacheStatus::Miss);
    let (_, status) = shop.service.read_product(id).await.unwrap();
    assert_eq!(status, CacheStatus::Miss, "it is a second old");
    let (_, status) = shop.service.read_product(id).await.unwrap();
    assert_eq!(status, CacheStatus::Hit);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_misses_make_one_query() {
    let server = RedisServer::start();
    for cache in caches(&server) {
        let shop = shop(cache).await;
        let id = shop.product.id;
        let readers: Vec<_> = (0..100)
            .map(|_| {
                let service = shop.service.clone();
                tokio::spawn(async move { service.read_product(id).await.unwrap() })
            })
            .collect();
        shop.cache.has_arrived.notified().await;
        // All of them are there when the one query is let go on.
        while shop.service.cache_stats().unwrap().misses < 100 {
            tokio::task::yield_now().await;
        }
        shop.cache.may_go.add_permits(1);
        for reader in readers {
            assert_eq!(reader.await.unwrap().0, Some(shop.product.clone()));
        }
        assert_eq!(
            shop.cache.puts.load(Ordering::SeqCst),
            1,
            "each query ends with a put"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_seen_by_the_next_read() {
    let server = RedisServer::start();
    let cluster = RedisServer::start_cluster();
    let [local, single] = caches(&server);
    // Each product is on one of the nodes, and any of them leads there.
    let on_cluster: Arc<dyn ProductCache> = Arc::new(RedisCache::new(cluster[0].client(), TTL));
    for cache in [local, single, on_cluster] {
        let shop = shop(cache).await;
        shop.cache.may_go.add_permits(1);
        let (service, id) = (&shop.service, shop.product.id);
        let read = async || service.read_product(id).await.unwrap().0;
        let stock = async || read().await.unwrap().stock;
        assert_eq!(stock().await, 10);
        let two = OrderRequest::one(id, Quantity::new(2).unwrap());
        let sold = service.purchase(two.clone()).await.unwrap();
        assert_eq!(stock().await, 8);
        service.accept(two).await.unwrap();
        service
            .worker(Default::default())
            .drain(&Default::default())
            .await
            .unwrap();
        assert_eq!(stock().await, 6);
        service.cancel(sold.id).await.unwrap();
        assert_eq!(stock().await, 8);
        let set = ProductChange::default().stock(3).unwrap();
        service.update_product(id, &set).await.unwrap();
        assert_eq!(stock().await, 3);
        let hits = service.cache_stats().unwrap().hits;
        assert!(hits >= 4, "changes replace what is cached: {hits} hits");
        service.archive_product(id).await.unwrap();
        assert_eq!(read().await, None);
        // What an order gives back to an archived product does not bring it back, in a cache
        // that has forgotten that it is archived.
        let forgetful = OrderService::builder(Arc::clone(&shop.store))
            .cache(Arc::new(LocalCache::new(TTL)))
            .build();
        let holding = OrderQuery {
            status: Some(OrderStatus::Success),
            ..OrderQuery::default()
        };
        for order in forgetful.orders(&holding).await.unwrap().items {
            forgetful.cancel(order.id).await.unwrap();
        }
        assert_eq!(forgetful.read_product(id).await.unwrap().0, None);
    }
}

/// A Redis that hangs costs one time-out, not one for every read; what it could not be told
/// meanwhile it is told when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_hangs_is_passed_by_and_told_later() {
    let server = RedisServer::start();
    let shop = shop(Arc::new(RedisCache::new(server.client(), TTL))).await;
    shop.cache.may_go.add_permits(1);
    let (service, id) = (&shop.service, shop.product.id);
    for expected in [CacheStatus::Miss, CacheStatus::Hit] {
        assert_eq!(service.read_product(id).await.unwrap().1, expected);
    }
    server.freeze();
    let start = std::time::Instant::now();
    for _ in 0..300 {
        let (product, status) = service.read_product(id).await.unwrap();
        assert_eq!((product.unwrap().stock, status), (10, CacheStatus::Bypass));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "300 reads took {took:?}");
    service
        .purchase(OrderRequest::one(id, Quantity::new(4).unwrap()))
        .await
        .unwrap();
    assert_eq!(service.read_product(id).await.unwrap().0.unwrap().stock, 6);
    server.thaw();
    let thawed = std::time::Instant::now();
    // Another server would read straight from Redis: the old state must be gone from there. What
    // the new one is, was not kept meanwhile: who reads asks the database.
    let other = RedisCache::new(server.client(), TTL);
    loop {
        match other.get(id).await {
            Ok(None) => break,
            Ok(Some(Entry::Active(product))) if product.stock == 6 => break,
            _ => {}
        }
        assert!(
            thawed.elapsed() < Duration::from_secs(2),
            "Redis still shows the old state"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while service.read_product(id).await.unwrap().1 != CacheStatus::Hit {
        assert!(
            thawed.elapsed() < Duration::from_secs(3),
            "the cache is not used again"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
