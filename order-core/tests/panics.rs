//! A panic does not stop the part that it happens in: groups, workers, reads.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod hooked_queue;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hooked_queue::{Call, HookedQueue};
use order_core::{
    Error, OrderService, WorkerOptions,
    cache::{CacheMark, CacheStatus, Entry, LocalCache, ProductCache},
    clock::{Clock, SystemClock},
    domain::{OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity},
    process::{LogProcessor, ProcessOptions, Processing},
    store::{SqliteStore, Store},
};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

/// The number of panics that are still to come.
#[derive(Clone, Default)]
struct Fuse {
    left: Arc<AtomicUsize>,
}

impl Fuse {
    fn light(&self, times: usize) {
        self.left.store(times, Ordering::SeqCst);
    }

    fn is_burnt(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn burn(&self) {
        let one_less = |left: usize| left.checked_sub(1);
        let lit = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        assert!(lit.is_err(), "this one panics: the test wants it to");
    }
}

struct PanickyClock(Fuse);

impl Clock for PanickyClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.burn();
        SystemClock.now()
    }
}

struct PanickyCache {
    put: Fuse,
    inner: LocalCache,
}

#[async_trait]
impl ProductCache for PanickyCache {
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error> {
        self.inner.get(id).await
    }

    fn mark(&self) -> CacheMark {
        self.inner.mark()
    }

    async fn put(&self, entries: &[Entry], mark: CacheMark) -> Result<(), Error> {
        self.put.burn();
        self.inner.put(entries, mark).await
    }

    async fn clear(&self) -> Result<(), Error> {
        self.inner.clear().await
    }

    fn entries(&self) -> Option<u64> {
        self.inner.entries()
    }
}

/// The panics of a queue.
#[derive(Clone, Default)]
struct QueueFuses {
    push: Fuse,
    claim: Fuse,
    ack: Fuse,
}

impl QueueFuses {
    fn burn(&self, call: Call<'_>) {
        match call {
            Call::Push(_) => self.push.burn(),
            Call::Claim => self.claim.burn(),
            Call::Ack => self.ack.burn(),
        }
    }
}

/// A shop whose parts panic when they are told to.
struct Shop {
    service: OrderService,
    product: ProductId,
    clock: Fuse,
    cache: Arc<PanickyCache>,
    queue: QueueFuses,
}

async fn shop(queued: bool) -> Shop {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    let clock = Fuse::default();
    let cache = Arc::new(PanickyCache {
        put: Fuse::default(),
        inner: LocalCache::new(Duration::from_millis(1)),
    });
    let queue = QueueFuses::default();
    let fuses = queue.clone();
    let panicky = HookedQueue {
        queue: store.queue(),
        before: move |call: Call<'_>| fuses.burn(call),
    };
    let mut builder = OrderService::builder(Arc::new(store))
        .clock(Arc::new(PanickyClock(clock.clone())))
        .cache(Arc::clone(&cache) as Arc<dyn ProductCache>);
    if queued {
        builder = builder.queue(Arc::new(panicky));
    }
    let service = builder.build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 1_000, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    Shop {
        service,
        product,
        clock,
        cache,
        queue,
    }
}

impl Shop {
    fn one(&self) -> OrderRequest {
        OrderRequest::one(self.product, Quantity::new(1).unwrap())
    }

    async fn stock(&self) -> i64 {
        let product = self.service.store().product(self.product).await;
        product.unwrap().unwrap().stock
    }
}

/// Looks again and again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < LIMIT, "not so after {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Those who were in it are told that nobody knows: here, they were sold. The next ones buy.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_panics_is_followed_by_the_next() {
    let shop = shop(false).await;
    for at_once in [false, true] {
        let order = async || {
            if at_once {
                shop.service.purchase(shop.one()).await
            } else {
                shop.service.accept(shop.one()).await
            }
        };
        shop.clock.light(1);
        let lost = order().await.unwrap_err();
        assert!(matches!(lost, Error::OutcomeUnknown { .. }), "{lost:?}");
        assert!(
            lost.with_causes().contains("group panicked: this one"),
            "{lost:?}"
        );
        order().await.unwrap();
    }
    assert_eq!(shop.stock().await, 999, "one was bought");

    shop.cache.put.light(1);
    let lost = shop.service.purchase(shop.one()).await.unwrap_err();
    assert!(matches!(lost, Error::OutcomeUnknown { .. }), "{lost:?}");
    assert_eq!(shop.stock().await, 998, "it was sold before it panicked");
    shop.service.purchase(shop.one()).await.unwrap();
    // What the cache could not be told, it is told again.
    until("reads are right", async || {
        let (read, status) = shop.service.read_product(shop.product).await.unwrap();
        read.unwrap().stock == 997 && status != CacheStatus::Bypass
    })
    .await;
    assert_eq!(shop.service.verify().await.unwrap(), []);
}

/// Everybody in it gets an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_whose_group_panics_is_answered() {
    let shop = shop(false).await;
    shop.cache.put.light(3);
    let load: Vec<_> = (0..100)
        .map(|_| {
            let (service, one) = (shop.service.clone(), shop.one());
            tokio::spawn(async move { service.purchase(one).await })
        })
        .collect();
    let (mut sold, mut unknown) = (0, 0);
    for buyer in load {
        match buyer.await.unwrap() {
            Ok(_) => sold += 1,
            Err(Error::OutcomeUnknown { .. }) => unknown += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(unknown > 0, "{sold} were sold");
    shop.service.purchase(shop.one()).await.unwrap();
    let taken = 1_000 - shop.stock().await;
    assert!(
        (sold + 1..=101).contains(&taken),
        "{sold}, {unknown}, {taken}"
    );
}

/// A read that others join, a change, and what repairs the cache.
#[tokio::test(flavor = "multi_thread")]
async fn reads_and_changes_go_on_after_a_panic() {
    let shop = shop(false).await;
    let read = async || shop.service.read_product(shop.product).await;
    shop.cache.put.light(2);
    // What the cache had is gone by then, so that what is read is put there.
    until("a read panicked", async || read().await.is_err()).await;
    until("reads go on", async || read().await.is_ok()).await;
    assert!(shop.cache.put.is_burnt());

    shop.cache.put.light(1);
    let changed = shop.service.archive_product(shop.product).await;
    let unknown = matches!(changed, Err(Error::OutcomeUnknown { .. }));
    assert!(unknown, "{changed:?}");
    until("it is known to be archived", async || {
        read().await.is_ok_and(|(product, _)| product.is_none())
    })
    .await;
}

/// Whatever panics in it, time and again: the orders are decided, and what follows is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_which_everything_panics_works_on() {
    for queued in [false, true] {
        let shop = shop(queued).await;
        let worker = shop.service.worker(
            WorkerOptions::default()
                .with_sweep_interval(Duration::from_millis(20))
                .with_sweep_age(Duration::ZERO)
                .with_idle_poll(Duration::from_millis(5)),
        );
        let worker = worker.processing(Processing {
            processor: Arc::new(LogProcessor),
            options: ProcessOptions::default().with_idle_poll(Duration::from_millis(5)),
        });
        let stop = CancellationToken::new();
        let told = stop.clone();
        let running = tokio::spawn(async move { worker.run(told).await });
        let mut ids = BTreeSet::new();
        let fuses: &[(&str, &Fuse)] = if queued {
            let QueueFuses { push, claim, ack } = &shop.queue;
            &[("push", push), ("claim", claim), ("ack", ack)]
        } else {
            &[("clock", &shop.clock), ("put", &shop.cache.put)]
        };
        for (name, fuse) in fuses.iter().copied() {
            ids.insert(shop.service.accept(shop.one()).await.unwrap().id);
            fuse.light(3);
            until(name, async || {
                // An order that meets a panic on its way in may be stored all the same.
                if let Ok(order) = shop.service.accept(shop.one()).await {
                    ids.insert(order.id);
                }
                fuse.is_burnt()
            })
            .await;
            until(name, async || {
                let mut completed = true;
                for id in &ids {
                    let order = shop.service.order(*id).await.unwrap().unwrap();
                    completed &= order.status == OrderStatus::Completed;
                }
                completed
            })
            .await;
        }
        stop.cancel();
        assert!(running.await.unwrap().sold > 0);
        assert_eq!(shop.service.verify().await.unwrap(), []);
    }
}
