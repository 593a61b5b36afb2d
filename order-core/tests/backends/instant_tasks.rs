//! Tasks that end at once, while much else wants the processor.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use order_core::{
    OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId, OrderRequest, ProductRequest, Quantity},
    process::{OrderProcessor, ProcessError, ProcessOptions, Processing, Task},
    store::{SqliteStore, Store, Strategy},
};
use tokio_util::sync::CancellationToken;

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
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("sqlite://{}", dir.path().join("orders.db").display());
    let store: Arc<dyn Store> = Arc::new(SqliteStore::connect(&url).await.unwrap());
    store.migrate().await.unwrap();
    let service = OrderService::builder(store).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 10_000, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    let ids = IdGenerator::default();
    let sell = async |orders: usize| {
        let now = SystemClock.now();
        let one = || OrderRequest::one(product, Quantity::new(1).unwrap());
        let orders = (0..orders).map(|_| one().into_new_order(OrderId(ids.next(now)), now));
        let orders: Vec<_> = orders.collect();
        let sold = service.store().purchase(&orders, Strategy::Batch).await;
        assert!(sold.unwrap().results.iter().all(Result::is_ok));
    };

    let turns = Arc::new(Turns::default());
    let options = ProcessOptions::default()
        .with_concurrency(1)
        .with_idle_poll(Duration::from_millis(5));
    let worker = service
        .worker(WorkerOptions::default())
        .processing(Processing {
            processor: turns.clone(),
            options,
        });
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
    sell(FIRST).await;
    done(FIRST).await;
    sell(MANY).await;
    done(FIRST + MANY).await;
    busy.abort();
    stop.cancel();
    running.await.unwrap();

    let done_in = turns.done_in.lock().unwrap().split_off(FIRST);
    let in_turns = done_in.into_iter().collect::<BTreeSet<_>>().len();
    assert!(in_turns < MANY / 4, "{MANY} tasks took {in_turns} turns");
}
