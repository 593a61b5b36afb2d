//! Tasks that a processor does several at once.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use order_core::{
    OrderService, WorkerOptions,
    clock::{Clock, SystemClock},
    domain::{
        IdGenerator, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity,
    },
    process::{OrderProcessor, ProcessError, ProcessOptions, Processing, Task, TaskState},
    store::{SqliteStore, Store, Strategy},
    testing::PostgresServer,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(10);
const MOST: usize = 4;
const ORDERS: usize = 10;

/// How a batch ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Of the orders of two pieces, each may be tried again; of three, none.
    OneByOne,
    Panics,
    Hangs,
    ForgetsOne,
    Waits,
}

/// Writes down the orders that it is given, together and alone.
struct Parcels {
    ending: Ending,
    batches: Mutex<Vec<Vec<OrderId>>>,
    alone: Mutex<Vec<(String, u32)>>,
    may_end: Semaphore,
}

impl Parcels {
    fn new(ending: Ending) -> Arc<Self> {
        Arc::new(Self {
            ending,
            batches: Mutex::default(),
            alone: Mutex::default(),
            may_end: Semaphore::new(0),
        })
    }

    fn batches(&self) -> Vec<Vec<OrderId>> {
        self.batches.lock().unwrap().clone()
    }

    /// The ids of the tasks that came alone, with the number of the attempt.
    fn alone(&self) -> Vec<(String, u32)> {
        let mut alone = self.alone.lock().unwrap().clone();
        alone.sort_unstable();
        alone
    }

    fn note_alone(&self, task: &Task) {
        let note = (task.id().to_string(), task.attempt);
        self.alone.lock().unwrap().push(note);
    }
}

#[async_trait]
impl OrderProcessor for Parcels {
    fn max_batch(&self) -> usize {
        MOST
    }

    async fn process_batch(&self, tasks: &[Task]) -> Vec<Result<(), ProcessError>> {
        let ids = tasks.iter().map(|task| task.order.id).collect();
        self.batches.lock().unwrap().push(ids);
        assert!(tasks.iter().all(|task| task.attempt == 1));
        match self.ending {
            Ending::OneByOne => {}
            Ending::Panics => panic!("this one panics: the test wants it to"),
            Ending::Hangs => std::future::pending().await,
            Ending::ForgetsOne => return vec![Ok(()); tasks.len() - 1],
            Ending::Waits => self.may_end.acquire().await.unwrap().forget(),
        }
        let of = |task: &Task| match task.order.lines[0].quantity.get() {
            1 => Ok(()),
            2 => Err(ProcessError::retry("later")),
            _ => Err(ProcessError::give_up("never")),
        };
        tasks.iter().map(of).collect()
    }

    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        self.note_alone(task);
        Ok(())
    }

    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        self.note_alone(task);
        Ok(())
    }
}

struct Shop {
    service: OrderService,
    product: ProductId,
}

async fn shop(store: Arc<dyn Store>) -> Shop {
    store.migrate().await.unwrap();
    let service = OrderService::builder(store).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 10_000, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    Shop { service, product }
}

/// One on each database.
async fn shops() -> [Shop; 2] {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    [
        shop(Arc::new(SqliteStore::connect(&url).await.unwrap())).await,
        shop(Arc::new(PostgresServer::shared().store().await)).await,
    ]
}

impl Shop {
    /// Sells an order for each of these numbers of pieces, by one statement.
    async fn sell(&self, pieces: &[i64]) -> Vec<OrderId> {
        let (ids, now) = (IdGenerator::default(), SystemClock.now());
        let orders = pieces.iter().map(|pieces| {
            let order = OrderRequest::one(self.product, Quantity::new(*pieces).unwrap());
            order.into_new_order(OrderId(ids.next(now)), now)
        });
        let orders: Vec<_> = orders.collect();
        let sold = self.service.store().purchase(&orders, Strategy::Batch);
        let sold = sold.await.unwrap().results.into_iter();
        sold.map(|sold| sold.unwrap().id).collect()
    }

    fn hire(
        &self,
        processor: &Arc<Parcels>,
        concurrency: usize,
    ) -> (CancellationToken, JoinHandle<()>) {
        let timeout = match processor.ending {
            Ending::Hangs => Duration::from_millis(300),
            _ => Duration::from_secs(30),
        };
        let options = ProcessOptions::default()
            .with_concurrency(concurrency)
            .with_timeout(timeout)
            .with_first_delay(Duration::from_millis(1))
            .with_idle_poll(Duration::from_millis(5));
        let worker = self.service.worker(WorkerOptions::default());
        let worker = worker.processing(Processing::new(processor.clone(), options));
        let stop = CancellationToken::new();
        let told = stop.clone();
        let running = tokio::spawn(async move {
            worker.run(told).await;
        });
        (stop, running)
    }

    async fn is(&self, ids: &[OrderId], status: OrderStatus) -> bool {
        for id in ids {
            if self.service.order(*id).await.unwrap().unwrap().status != status {
                return false;
            }
        }
        true
    }

    async fn errors(&self, id: OrderId) -> Vec<String> {
        let history = self.service.task_history(id).await.unwrap().unwrap();
        let attempts = history.attempts.into_iter();
        attempts.map(|attempt| attempt.error).collect()
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

#[tokio::test(flavor = "multi_thread")]
async fn each_order_of_a_batch_succeeds_or_fails_by_itself() {
    for shop in shops().await {
        let ids = shop.sell(&[1, 1, 2, 1, 1, 3, 1, 1, 1, 1]).await;
        let parcels = Parcels::new(Ending::OneByOne);
        let (stop, running) = shop.hire(&parcels, 64);
        let (fails, dies) = (ids[2], ids[5]);
        let others: Vec<OrderId> = ids.iter().copied().filter(|id| *id != dies).collect();
        until("done", async || {
            shop.is(&others, OrderStatus::Completed).await
        })
        .await;
        let is_dead = async || {
            let history = shop.service.task_history(dies).await.unwrap().unwrap();
            history
                .task
                .is_some_and(|task| task.state == TaskState::Dead)
        };
        until("dead", is_dead).await;
        stop.cancel();
        running.await.unwrap();

        // They run at the same time.
        let mut batches = parcels.batches();
        batches.sort_unstable();
        let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [MOST, MOST, ORDERS - 2 * MOST]);
        assert_eq!(batches.concat(), ids, "each once, the first sold first");
        assert_eq!(parcels.alone(), [(format!("sale_{fails}"), 2)]);
        for id in ids {
            let expected: &[&str] = match id {
                _ if id == fails => &["later"],
                _ if id == dies => &["never"],
                _ => &[],
            };
            assert_eq!(shop.errors(id).await, expected);
        }
        assert_eq!(shop.service.verify().await.unwrap(), []);
    }
}

/// It fails each of its orders once: then they are attempted alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_as_a_whole_fails_each_of_its_orders_once() {
    for (ending, error) in [
        (Ending::Panics, "the processor panicked"),
        (Ending::Hangs, "took longer than 300ms"),
        (
            Ending::ForgetsOne,
            "the processor gave 2 results of 3 tasks",
        ),
    ] {
        for shop in shops().await {
            let ids = shop.sell(&[1; 3]).await;
            let parcels = Parcels::new(ending);
            let (stop, running) = shop.hire(&parcels, 64);
            until("done", async || shop.is(&ids, OrderStatus::Completed).await).await;
            stop.cancel();
            running.await.unwrap();
            assert_eq!(parcels.batches(), std::slice::from_ref(&ids), "{ending:?}");
            let alone = ids.iter().map(|id| (format!("sale_{id}"), 2));
            let mut alone: Vec<_> = alone.collect();
            alone.sort_unstable();
            assert_eq!(parcels.alone(), alone, "{ending:?}");
            for id in ids {
                assert_eq!(shop.errors(id).await, [error], "{ending:?}");
            }
        }
    }
}

/// No more tasks are in batches than may run at once, and what is cancelled meanwhile is undone by
/// itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_a_place_for_each_task_and_no_compensation() {
    for shop in shops().await {
        let ids = shop.sell(&[1; ORDERS]).await;
        let parcels = Parcels::new(Ending::Waits);
        let (stop, running) = shop.hire(&parcels, MOST + 1);
        let began = async || parcels.batches().concat().len() == MOST + 1;
        until("as many as may run", began).await;
        assert_eq!(parcels.batches().len(), 2);
        shop.service.cancel(ids[0]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began().await, "no more than that");
        parcels.may_end.add_permits(ORDERS);
        until("done", async || {
            shop.is(&ids[1..], OrderStatus::Completed).await && parcels.alone().len() == 1
        })
        .await;
        stop.cancel();
        running.await.unwrap();
        assert_eq!(parcels.alone(), [(format!("cancel_{}", ids[0]), 1)]);
        let mut done = parcels.batches().concat();
        done.sort_unstable();
        assert_eq!(done, ids, "each once");
        assert_eq!(shop.service.verify().await.unwrap(), []);
    }
}
