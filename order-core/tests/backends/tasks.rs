//! Workers that do post-sale tasks.
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
        IdGenerator, Order, OrderId, OrderRequest, OrderStatus, ProductId, ProductRequest, Quantity,
    },
    process::{
        Claim, OrderProcessor, ProcessError, ProcessOptions, Processing, SimulatedProcessor, Task,
        TaskState,
    },
    queue::{DeadQuery, Topic},
    store::{SqliteStore, Store, Strategy},
    testing::PostgresServer,
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(10);

struct Shop {
    service: OrderService,
    product: ProductId,
}

async fn sqlite() -> Shop {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let url = format!("sqlite://{}", dir.join("orders.db").display());
    shop(Arc::new(SqliteStore::connect(&url).await.unwrap())).await
}

async fn shop(store: Arc<dyn Store>) -> Shop {
    store.migrate().await.unwrap();
    let service = OrderService::builder(store).build();
    let product = ProductRequest::new("p", "1".parse().unwrap(), 10_000, None).unwrap();
    let product = service.create_product(product).await.unwrap().id;
    Shop { service, product }
}

impl Shop {
    fn one(&self) -> OrderRequest {
        OrderRequest::one(self.product, Quantity::new(1).unwrap())
    }

    async fn purchase(&self) -> OrderId {
        self.service.purchase(self.one()).await.unwrap().id
    }

    async fn order(&self, id: OrderId) -> Order {
        self.service.order(id).await.unwrap().unwrap()
    }

    /// Starts a worker.
    fn hire(
        &self,
        processor: Arc<dyn OrderProcessor>,
        options: ProcessOptions,
    ) -> (CancellationToken, JoinHandle<()>) {
        let worker = self.service.worker(WorkerOptions::default());
        let worker = worker.processing(Processing { processor, options });
        let stop = CancellationToken::new();
        let told = stop.clone();
        let running = tokio::spawn(async move {
            worker.run(told).await;
        });
        (stop, running)
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

/// Writes down what it is told, and waits for permission before it ends.
struct Notes {
    lines: Mutex<Vec<String>>,
    may_end: Semaphore,
}

impl Notes {
    fn new(may_end: usize) -> Arc<Self> {
        Arc::new(Self {
            lines: Mutex::default(),
            may_end: Semaphore::new(may_end),
        })
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    async fn note(&self, task: &Task) {
        self.lines.lock().unwrap().push(task.id().to_string());
        self.may_end.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl OrderProcessor for Notes {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        self.note(task).await;
        Ok(())
    }

    async fn compensate(&self, task: &Task) -> Result<(), ProcessError> {
        self.note(task).await;
        Ok(())
    }
}

/// Both ways to buy wake whoever does the tasks: with a poll of an hour, nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_completed_at_once_however_it_was_made() {
    let shop = sqlite().await;
    let notes = Notes::new(usize::MAX >> 4);
    let options = ProcessOptions::default().with_idle_poll(Duration::from_secs(3_600));
    let (stop, running) = shop.hire(notes.clone(), options);
    let mut told = Vec::new();
    for _ in 0..3 {
        for id in [
            shop.purchase().await,
            shop.service.accept(shop.one()).await.unwrap().id,
        ] {
            told.push(format!("sale_{id}"));
            until("completed", async || {
                shop.order(id).await.status == OrderStatus::Completed
            })
            .await;
        }
    }
    // Those of one round run at the same time, in whatever order.
    let mut done = notes.lines();
    done.sort_unstable();
    told.sort_unstable();
    assert_eq!(done, told, "each once");
    stop.cancel();
    running.await.unwrap();
}

/// Fails in another way with each attempt.
struct Failing;

#[async_trait]
impl OrderProcessor for Failing {
    async fn process(&self, task: &Task) -> Result<(), ProcessError> {
        match task.attempt {
            1 => panic!("this one panics: the test wants it to"),
            2 => std::future::pending().await,
            3 => Err(ProcessError::Retry {
                reason: "not yet".to_owned(),
                after: Some(Duration::from_millis(100)),
            }),
            _ => Err(ProcessError::retry("no")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_panics_hangs_or_fails_is_tried_as_often_as_it_may() {
    let shop = sqlite().await;
    let options = ProcessOptions::default()
        .with_timeout(Duration::from_millis(50))
        .with_max_attempts(4)
        .with_first_delay(Duration::from_millis(1))
        .with_idle_poll(Duration::from_millis(5));
    let (stop, running) = shop.hire(Arc::new(Failing), options);
    let id = shop.purchase().await;
    let history = async || shop.service.task_history(id).await.unwrap().unwrap();
    let is_dead = async || {
        let task = history().await.task;
        task.is_some_and(|task| task.state == TaskState::Dead)
    };
    until("dead", is_dead).await;
    let attempts = history().await.attempts;
    let errors: Vec<&str> = attempts.iter().map(|a| a.error.as_str()).collect();
    assert_eq!(
        errors,
        [
            "the processor panicked",
            "took longer than 50ms",
            "not yet",
            "no"
        ]
    );
    let pause = attempts[3].started_at - attempts[2].ended_at;
    assert!(
        pause.num_milliseconds() >= 100,
        "the processor named a delay: {pause}"
    );
    assert_eq!(shop.order(id).await.status, OrderStatus::Success);
    let dead = shop
        .service
        .dead_letters(Topic::Process, &DeadQuery::latest(9))
        .await
        .unwrap();
    assert_eq!(
        (dead[0].letter.attempts, dead[0].letter.reason.as_str()),
        (4, "no")
    );
    stop.cancel();
    running.await.unwrap();
}

/// Two workers claimed the task and were never heard of again: it has no third attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_workers_died_too_often_is_given_up_unattempted() {
    let shop = sqlite().await;
    let id = shop.purchase().await;
    let ids = IdGenerator::default();
    for attempt in 1..=2 {
        let at = SystemClock.now();
        let claim = Claim {
            id: ids.next(at),
            worker_id: ids.next(at),
            max: 1,
            ahead: 0,
            delay: Duration::ZERO,
            lease: Duration::ZERO,
        };
        let tasks = shop.service.store().clone().task_store().unwrap();
        let claimed = tasks.claim_tasks(&claim).await.unwrap();
        assert_eq!(claimed[0].lease.attempts, attempt);
    }
    let notes = Notes::new(9);
    let options = ProcessOptions::default().with_max_attempts(2);
    let (stop, running) = shop.hire(notes.clone(), options);
    let is_given_up = async || {
        let dead = shop
            .service
            .dead_letters(Topic::Process, &DeadQuery::latest(9))
            .await
            .unwrap();
        dead.first().is_some_and(|dead| dead.letter.attempts == 2)
    };
    until("given up", is_given_up).await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(notes.lines(), [""; 0], "nobody was asked");
    let history = shop.service.task_history(id).await.unwrap().unwrap();
    assert_eq!(history.attempts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_tasks_under_way_end_and_takes_on_no_more() {
    let shop = sqlite().await;
    let notes = Notes::new(0);
    let options = ProcessOptions::default().with_concurrency(1);
    let (stop, running) = shop.hire(notes.clone(), options);
    let (first, second) = (shop.purchase().await, shop.purchase().await);
    until("begun", async || !notes.lines().is_empty()).await;
    stop.cancel();
    assert_eq!(shop.order(first).await.status, OrderStatus::Success);
    notes.may_end.add_permits(9);
    running.await.unwrap();
    assert_eq!(shop.order(first).await.status, OrderStatus::Completed);
    assert_eq!(shop.order(second).await.status, OrderStatus::Success);
    assert_eq!(notes.lines(), [format!("sale_{first}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_under_way_is_undone_after_it() {
    let shop = sqlite().await;
    let notes = Notes::new(0);
    let (stop, running) = shop.hire(notes.clone(), ProcessOptions::default());
    let id = shop.purchase().await;
    until("begun", async || !notes.lines().is_empty()).await;
    shop.service.cancel(id).await.unwrap();
    notes.may_end.add_permits(9);
    let is_over = async || {
        let history = shop.service.task_history(id).await.unwrap().unwrap();
        history.task.is_none()
    };
    until("over", is_over).await;
    assert_eq!(
        notes.lines(),
        [format!("sale_{id}"), format!("cancel_{id}")]
    );
    assert_eq!(shop.order(id).await.status, OrderStatus::Cancelled);
    stop.cancel();
    running.await.unwrap();
    assert_eq!(shop.service.verify().await.unwrap(), []);
}

/// Tasks that end fast are claimed as they were sold, a thousand at once. When they become slow,
/// those that could not begin are given back: others may have them, and no attempt counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_claimed_ahead_and_cannot_begin_is_given_back() {
    const FAST: usize = 64;
    const SLOW: usize = 500;
    let shop = shop(Arc::new(PostgresServer::shared().store().await)).await;
    let ids = IdGenerator::default();
    let sell = async |orders: usize| {
        let now = SystemClock.now();
        let orders = (0..orders).map(|_| shop.one().into_new_order(OrderId(ids.next(now)), now));
        let orders: Vec<_> = orders.collect();
        let sold = shop
            .service
            .store()
            .purchase(&orders, Strategy::Batch)
            .await;
        let ids: Vec<OrderId> = sold
            .unwrap()
            .results
            .into_iter()
            .map(|sold| sold.unwrap().id)
            .collect();
        ids
    };
    let counted = async || {
        let stats = shop.service.topic_stats(Topic::Process).await;
        let stats = stats.unwrap().stats;
        (stats.waiting, stats.in_flight)
    };
    let notes = Notes::new(FAST);
    let options = ProcessOptions::default()
        .with_concurrency(4)
        .with_idle_poll(Duration::from_millis(5));
    let (stop, running) = shop.hire(notes.clone(), options);
    sell(FAST).await;
    until("all are done", async || counted().await == (0, 0)).await;

    let slow = sell(SLOW).await;
    until("claimed ahead", async || {
        counted().await == (0, SLOW as u64)
    })
    .await;
    until("given back", async || {
        counted().await == (SLOW as u64 - 4, 4)
    })
    .await;
    stop.cancel();
    notes.may_end.add_permits(SLOW);
    running.await.unwrap();
    assert_eq!(counted().await, (SLOW as u64 - 4, 0));
    let begun = notes.lines().split_off(FAST);
    assert_eq!(begun.len(), 4);
    for id in slow {
        let is_done = shop.order(id).await.status == OrderStatus::Completed;
        assert_eq!(is_done, begun.contains(&format!("sale_{id}")));
        let history = shop.service.task_history(id).await.unwrap().unwrap();
        assert_eq!(history.attempts, [], "none was made in vain");
        assert_eq!(
            history.task.map(|task| task.attempts),
            (!is_done).then_some(0)
        );
    }
}

/// A thousand tasks that take forever are under way: orders are decided as if there were none.
#[tokio::test(flavor = "multi_thread")]
async fn slow_tasks_do_not_hold_up_decisions() {
    const SLOW: usize = 1_000;
    let shop = shop(Arc::new(PostgresServer::shared().store().await)).await;
    let decided_within = async |orders: usize| {
        let start = Instant::now();
        let accepted = shop.service.accept_all(vec![shop.one(); orders]).await;
        let last = accepted.last().unwrap().as_ref().unwrap().id;
        until("decided", async || {
            shop.order(last).await.status != OrderStatus::Pending
        })
        .await;
        start.elapsed()
    };
    let options = ProcessOptions::default()
        .with_concurrency(SLOW)
        .with_timeout(Duration::from_secs(2));
    let takes = Duration::from_secs(3_600);
    let (stop, running) = shop.hire(Arc::new(SimulatedProcessor { takes }), options);
    let without = decided_within(SLOW).await;
    let all_slow = async || {
        let stats = shop
            .service
            .topic_stats(Topic::Process)
            .await
            .unwrap()
            .stats;
        stats.in_flight == SLOW as u64
    };
    until("a thousand are under way", all_slow).await;
    let with = decided_within(SLOW).await;
    assert!(
        with < without * 5 + Duration::from_millis(500),
        "{with:?} with, {without:?} without"
    );
    stop.cancel();
    running.await.unwrap();
}
