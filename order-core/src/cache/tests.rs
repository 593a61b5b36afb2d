//! Many changes, and the invalidations that a cache in Redis did not take.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::DateTime;

use super::{
    CacheMark, CacheStatus, CachedStore, Entry, ProductCache, RedisCache, pending_invalidations,
};
use crate::{
    domain::{IdGenerator, Product, ProductId, ProductRequest},
    store::{ProductStore, Store},
    testing::{RedisServer, ReferenceStore, conformance::start},
};

const TTL: Duration = Duration::from_secs(300);
/// The time in which Redis has to have the invalidations that it missed.
const SOON: Duration = Duration::from_secs(20);

fn products(count: usize, version: i64) -> Vec<Product> {
    let ids = IdGenerator::default();
    let product = |number| Product {
        terms: crate::domain::SaleTerms::default(),
        id: ProductId(ids.next(start())),
        sku: None,
        // As long as it may be.
        name: format!("{number:0>255}"),
        price: "1".parse().unwrap(),
        stock: 1,
        version,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    };
    (0..count).map(product).collect()
}

fn active(products: &[Product]) -> Vec<Entry> {
    products.iter().cloned().map(Entry::Active).collect()
}

fn newer(products: &[Product]) -> Vec<Product> {
    let newer = |product: &Product| Product {
        version: product.version + 1,
        ..product.clone()
    };
    products.iter().map(newer).collect()
}

/// The memory of this process, in MiB.
fn resident_mib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4 / 1024
}

struct Shop {
    server: RedisServer,
    store: Arc<CachedStore>,
    /// The cache as another process sees it.
    elsewhere: RedisCache,
}

fn shop() -> Shop {
    let server = RedisServer::start();
    let inner: Arc<dyn Store> = Arc::new(ReferenceStore::default());
    let cache = RedisCache::new(server.client(), TTL);
    Shop {
        store: Arc::new(CachedStore::new(inner, Arc::new(cache))),
        elsewhere: RedisCache::new(server.client(), TTL),
        server,
    }
}

impl Shop {
    async fn change(&self, products: &[Product]) {
        self.store
            .changed_products(products, self.store.mark())
            .await;
    }

    async fn is_settled(&self) -> Duration {
        let began = Instant::now();
        let settled = tokio::time::timeout(SOON, self.store.settle()).await;
        assert!(
            settled.is_ok(),
            "{} pending",
            self.store.pending_invalidations()
        );
        began.elapsed()
    }

    /// The number of these that another process reads at this version or a newer one, and of those
    /// that it reads older.
    async fn seen(&self, products: &[Product]) -> (usize, usize) {
        let (mut new, mut old) = (0, 0);
        for product in products {
            match self.elsewhere.get(product.id).await.unwrap() {
                Some(entry) if entry.version() < product.version => old += 1,
                Some(_) => new += 1,
                None => {}
            }
        }
        (new, old)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seventy_thousand_changes_do_not_put_a_healthy_redis_out_of_use() {
    let shop = shop();
    let products = products(70_000, 1);
    let began = Instant::now();
    shop.change(&products).await;
    let took = began.elapsed();
    assert_eq!(shop.store.stats().errors, 0);
    assert_eq!(shop.store.pending_invalidations(), 0);
    let some: Vec<Product> = products.iter().step_by(700).cloned().collect();
    assert_eq!(shop.seen(&some).await, (100, 0));
    let (read, status) = shop.store.read(products[1].id).await.unwrap();
    assert_eq!(
        (read.as_ref(), status),
        (Some(&products[1]), CacheStatus::Hit)
    );
    eprintln!("70 000 changes were delivered in {took:?}");
}

/// Products that change while Redis is away are remembered by id, and handed over in slices.
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_in_an_outage_is_delivered_after_it() {
    let shop = shop();
    let before = products(50_000, 1);
    shop.change(&before).await;
    shop.server.freeze();
    let after = newer(&before);
    shop.change(&after).await;
    assert_eq!(shop.store.pending_invalidations(), 50_000);
    let (_, status) = shop.store.read(before[0].id).await.unwrap();
    assert_eq!(status, CacheStatus::Bypass);
    shop.server.thaw();
    let took = shop.is_settled().await;
    // Some of the first slice were on their way when Redis froze, and may be there: new.
    let (first, rest) = after.split_at(1_000);
    let some = |products: &[Product]| products.iter().step_by(500).cloned().collect::<Vec<_>>();
    assert_eq!(
        shop.seen(&some(rest)).await,
        (0, 0),
        "nothing is served that is old"
    );
    assert_eq!(shop.seen(&some(first)).await.1, 0, "nor of those");
    eprintln!("50 000 were delivered in {took:?}");
}

/// Past the bound, the cache forgets everything; and memory does not grow with what changes.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_is_remembered_makes_the_cache_forget_everything() {
    let shop = shop();
    let many = products(150_000, 1);
    let untouched = products(100, 1);
    shop.change(&many).await;
    shop.change(&untouched).await;
    let some: Vec<Product> = many.iter().step_by(1_500).cloned().collect();
    assert_eq!(shop.seen(&some).await, (100, 0));
    // Somebody elsewhere has read an old state, and is slow to put it into the cache.
    let slow = shop.elsewhere.mark();
    shop.server.freeze();
    let resident = resident_mib();
    for _ in 0..10 {
        let changed = products(150_000, 2);
        shop.change(&changed).await;
        assert!(shop.store.pending_invalidations() <= pending_invalidations::MAX_PRODUCTS);
    }
    shop.change(&newer(&many)).await;
    let grown = resident_mib().saturating_sub(resident);
    assert!(
        grown < 300,
        "{grown} MiB more, of which half is this test's"
    );
    let (_, status) = shop.store.read(untouched[0].id).await.unwrap();
    assert_eq!(status, CacheStatus::Bypass, "everything is invalid");
    shop.server.thaw();
    let took = shop.is_settled().await;
    eprintln!("all was forgotten in {took:?}; {grown} MiB");
    let some = newer(&some);
    assert_eq!(
        shop.seen(&some).await,
        (0, 0),
        "nothing is served that is old"
    );
    shop.elsewhere
        .put(&active(&many[..200]), slow)
        .await
        .unwrap();
    let first = newer(&many[..200]);
    assert_eq!(shop.seen(&first).await, (0, 0), "nor is it put back");
    // Who reads from now on is served again.
    let mark = shop.elsewhere.mark();
    shop.elsewhere.put(&active(&first), mark).await.unwrap();
    assert_eq!(shop.seen(&first).await, (200, 0));
}

/// A mark that was taken before everything was forgotten is told from one after it, also by who
/// heard of it only in between.
#[tokio::test(flavor = "multi_thread")]
async fn who_began_to_read_before_all_was_forgotten_puts_nothing_back() {
    let shop = shop();
    let (old, cache) = (products(1, 1), RedisCache::new(shop.server.client(), TTL));
    let slow = cache.mark();
    shop.elsewhere.clear().await.unwrap();
    // It hears of it by another read.
    assert_eq!(cache.get(old[0].id).await.unwrap(), None);
    cache.put(&active(&old), slow).await.unwrap();
    assert_eq!(cache.get(old[0].id).await.unwrap(), None);
    // The change itself is remembered: what is older than it stays away, and it may come.
    cache.put(&active(&old), cache.mark()).await.unwrap();
    assert_eq!(cache.get(old[0].id).await.unwrap(), active(&old).pop());
    // And so it is after Redis lost what it had.
    shop.server.flush();
    cache
        .put(&active(&newer(&old)), cache.mark())
        .await
        .unwrap();
    assert_eq!(
        cache.get(old[0].id).await.unwrap(),
        None,
        "it knew another epoch"
    );
    cache
        .put(&active(&newer(&old)), cache.mark())
        .await
        .unwrap();
    assert_eq!(
        cache.get(old[0].id).await.unwrap(),
        active(&newer(&old)).pop()
    );
}

/// A commit whose outcome nobody knows makes its products be read again.
#[tokio::test(flavor = "multi_thread")]
async fn an_uncertain_change_is_read_again() {
    let shop = shop();
    let request = ProductRequest::new("p", "1".parse().unwrap(), 1, None).unwrap();
    let product = request.into_new_product(
        ProductId(IdGenerator::default().next(start())),
        crate::domain::AdjustmentId(IdGenerator::default().next(start())),
        start(),
    );
    let created = shop.store.create_product(&product).await.unwrap();
    let older = Product {
        version: 0,
        ..created.clone()
    };
    let mark = CacheMark::of(0);
    shop.elsewhere.put(&active(&[older]), mark).await.unwrap();
    let unknown = crate::Error::OutcomeUnknown {
        source: Arc::new(std::io::Error::other("lost")),
    };
    let result: Result<(), _> = shop
        .store
        .invalidate_if_unknown(Err(unknown), std::iter::once(created.id));
    assert!(result.is_err());
    shop.is_settled().await;
    assert_eq!(shop.seen(std::slice::from_ref(&created)).await, (1, 0));
}
