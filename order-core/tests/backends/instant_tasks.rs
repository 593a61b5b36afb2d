//! Tasks that end at once, while much else wants the processor.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use order_core::{
    OrderService, Worker, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId, OrderRequest, ProductId, ProductRequest, Quantity},
    process::{OrderProcessor, ProcessError, ProcessOptions, Processing, Task},
    store::{SqliteStore, Store, Strategy},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A shop with one product, in a file of its own.
struct Shop {
    service: OrderService,
    product: ProductId,
    ids: IdGenerator,
}

impl Shop {
    async fn open() -> (TempDir, Self) {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = format!("sqlite://{}", dir.path().join("orders.db").display());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::connect(&url).await.unwrap());
        store.migrate().await.unwrap();
        let service = OrderService::builder(store).build();
        let product = ProductRequest::new("p", "1".parse().unwrap(), 10_000, None).unwrap();
        let product = service.create_product(product).await.unwrap().id;
        let ids = IdGenerator::default();
        let shop = Self {
            service,
            product,
            ids,
        };
        (dir, shop)
    }

    async fn sell(&self, orders: usize) {
        let now = SystemClock.now();
        let one = || OrderRequest::one(self.product, Quantity::new(1).unwrap());
        let orders = (0..orders).map(|_| one().into_new_order(OrderId(self.ids.next(now)), now));
        let orders: Vec<_> = orders.collect();
        let sold = self.service.store().purchase(&orders, Strategy::Batch);
        assert!(sold.await.unwrap().results.iter().all(Result::is_ok));
    }

    fn worker(&self, processor: Arc<dyn OrderProcessor>, options: ProcessOptions) -> Worker {
        let worker = self.service.worker(WorkerOptions::default());
        worker.processing(Processing { processor, options })
    }
}

/// Counts the turns that another has, and writes down in which of them tasks were done.
#[derive(Default)]
struct Turns {
    had: AtomicUsize,
    done_in: Mutex<Vec<usize>>,
}

#[async_trait]
impl OrderProcessor for Turns {
    async fn process(&self, _: &Task) -> Result<(), ProcessError> {
        let turn = self.had.load(Ordering::Relaxed);
        self.done_in.lock().unwrap().push(turn);
        Ok(())
    }

    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        self.process(task).await
    }
}

/// Those that are ready have their turn, and then this: `yield_now` would wait for longer.
async fn go_on_in_the_next_turn() {
    let mut is_next = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut is_next, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// As a task of the runtime, each would wait for its turn among all that others do: on a busy server,
/// a thousand times as long as it takes.
#[tokio::test]
async fn tasks_that_end_at_once_are_done_many_in_a_turn_of_the_runtime() {
    const FIRST: usize = 100;
    const MANY: usize = 2_000;
    let (_dir, shop) = Shop::open().await;
    let turns = Arc::new(Turns::default());
    let options = ProcessOptions::default()
        .with_concurrency(1)
        .with_idle_poll(Duration::from_millis(5));
    let worker = shop.worker(turns.clone(), options);
    let stop = CancellationToken::new();
    let told = stop.clone();
    let running = tokio::spawn(async move {
        worker.run(told).await;
    });
    let other = Arc::clone(&turns);
    let busy = tokio::spawn(async move {
        loop {
            other.had.fetch_add(1, Ordering::Relaxed);
            go_on_in_the_next_turn().await;
        }
    });
    let done = async |tasks: usize| {
        while turns.done_in.lock().unwrap().len() < tasks {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    shop.sell(FIRST).await;
    done(FIRST).await;
    shop.sell(MANY).await;
    done(FIRST + MANY).await;
    busy.abort();
    stop.cancel();
    running.await.unwrap();

    let done_in = turns.done_in.lock().unwrap().split_off(FIRST);
    let in_turns = done_in.into_iter().collect::<BTreeSet<_>>().len();
    assert!(in_turns < MANY / 4, "{MANY} tasks took {in_turns} turns");
}

/// A claim for each sale, with what writes its results, would cost a lone client more than its sale.
#[tokio::test(flavor = "multi_thread")]
async fn sales_that_come_one_by_one_share_the_claims_of_their_tasks() {
    const SALES: usize = 200;
    let (_dir, shop) = Shop::open().await;
    let turns = Arc::new(Turns::default());
    let options = ProcessOptions::default().with_delay(Duration::ZERO);
    let worker = shop.worker(turns.clone(), options);
    let stop = CancellationToken::new();
    let told = stop.clone();
    let running = tokio::spawn(async move {
        worker.run(told).await;
    });
    let start = Instant::now();
    for _ in 0..SALES {
        let one = OrderRequest::one(shop.product, Quantity::new(1).unwrap());
        shop.service.purchase(one).await.unwrap();
        turns.had.fetch_add(1, Ordering::Relaxed);
    }
    while turns.done_in.lock().unwrap().len() < SALES {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let claims = start.elapsed().as_millis() / 20 + 2;
    stop.cancel();
    running.await.unwrap();

    // A sale may be over while the tasks of one claim are done, and seldom two.
    let done_in = std::mem::take(&mut *turns.done_in.lock().unwrap());
    let moments = done_in.into_iter().collect::<BTreeSet<_>>().len();
    let seen = u128::try_from(moments).unwrap();
    assert!(2 * seen <= 3 * claims, "{moments} moments, {claims} claims");
}

/// Ends at once, so many times, and then takes longer than a task that was claimed waits for its turn.
struct SlowAtLast {
    instant: usize,
    begun: AtomicUsize,
    done: AtomicUsize,
}

#[async_trait]
impl OrderProcessor for SlowAtLast {
    async fn process(&self, _: &Task) -> Result<(), ProcessError> {
        if self.begun.fetch_add(1, Ordering::Relaxed) >= self.instant {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The next claim, which is made meanwhile, finds nothing due, and then the last task is given back.
#[tokio::test]
async fn a_drain_does_what_was_given_back_while_it_found_nothing_due() {
    const SALES: usize = 6;
    const INSTANT: usize = SALES * EACH;
    const EACH: usize = 200;
    const SLOW: usize = 3;
    let (_dir, shop) = Shop::open().await;
    for _ in 1..SALES {
        shop.sell(EACH).await;
    }
    shop.sell(EACH + SLOW).await;
    let processor = Arc::new(SlowAtLast {
        instant: INSTANT,
        begun: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
    });
    let options = ProcessOptions::default().with_concurrency(SLOW - 1);
    let worker = shop.worker(processor.clone(), options);
    worker.drain(&CancellationToken::new()).await.unwrap();
    assert_eq!(processor.done.load(Ordering::Relaxed), INSTANT + SLOW);
}
