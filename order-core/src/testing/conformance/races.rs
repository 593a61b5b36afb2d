//! Checks of concurrent calls. Barriers, not sleeps, let them go.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::{sync::Barrier, task::JoinSet};
use uuid::Uuid;

use super::fixture::Fixture;
use crate::{
    domain::{OrderId, OrderStatus, StockRequest},
    error::Error,
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskKind, TaskStore},
    store::{Selection, Strategy},
};

pub(super) const TASKS: usize = 16;

/// Runs `task(number)` in as many tasks at once, and gives what each returned.
pub(super) async fn at_once<T, F, Fut>(task: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for number in 0..TASKS {
        let (barrier, work) = (Arc::clone(&barrier), task(number));
        tasks.spawn(async move {
            barrier.wait().await;
            work.await
        });
    }
    tasks.join_all().await
}

pub(super) async fn the_last_piece_is_sold_once(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let product = fixture.product("p", 5).await.id;
        let results = at_once(|_| {
            let (store, order) = (Arc::clone(&fixture.store), fixture.order(&[(product, 1)]));
            async move {
                let outcome = store.purchase(&[order], strategy).await.unwrap();
                outcome.results.into_iter().next().unwrap()
            }
        })
        .await;
        let sold = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(sold, 5, "{strategy}");
        assert!(results.iter().all(|result| matches!(
            result,
            Ok(_)
                | Err(Error::InsufficientStock {
                    available: 0,
                    requested: 1,
                    ..
                })
        )));
        assert_eq!(fixture.stock(product).await, 0, "{strategy}");
    }
    fixture.books_balance().await;
}

pub(super) async fn each_order_is_decided_once(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let product = fixture.product("p", 60).await.id;
        let orders = fixture.orders(100, &[(product, 1)]);
        fixture.store.accept(&orders).await.unwrap();
        let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
        let decided = at_once(|number| {
            let (store, ids, at) = (Arc::clone(&fixture.store), ids.clone(), fixture.at);
            async move {
                let pick = if number % 2 == 0 {
                    Selection::Oldest(70)
                } else {
                    Selection::ByIds(&ids)
                };
                store.decide(pick, strategy, at).await.unwrap().results
            }
        })
        .await;
        let mut decided: Vec<OrderId> = decided.into_iter().flatten().map(|(id, _)| id).collect();
        decided.sort_unstable();
        assert_eq!(decided, ids, "{strategy}: each was decided, and once");
        assert_eq!(fixture.stock(product).await, 0, "{strategy}");
    }
    fixture.books_balance().await;
}

pub(super) async fn cancelling_and_deciding_agree(fixture: &Fixture) {
    let product = fixture.product("p", 1_000).await.id;
    let orders = fixture.orders(50, &[(product, 1)]);
    fixture.store.accept(&orders).await.unwrap();
    let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
    at_once(|number| {
        let (store, ids, at) = (Arc::clone(&fixture.store), ids.clone(), fixture.at);
        async move {
            if number % 2 == 0 {
                store
                    .decide(Selection::ByIds(&ids), Strategy::Batch, at)
                    .await
                    .unwrap();
                return;
            }
            for id in ids.iter().filter(|id| id.0.as_u128() % 2 == 0) {
                store.cancel(*id, at, None).await.unwrap();
            }
        }
    })
    .await;
    let mut held = 0;
    for id in ids {
        let order = fixture.store.order(id).await.unwrap().unwrap();
        let cancelled = id.0.as_u128() % 2 == 0;
        let expected = if cancelled {
            OrderStatus::Cancelled
        } else {
            OrderStatus::Success
        };
        assert_eq!(order.status, expected);
        held += i64::from(!cancelled);
    }
    assert_eq!(fixture.stock(product).await, 1_000 - held);
    fixture.books_balance().await;
}

/// Half of them cancel orders while the others do their tasks.
pub(super) async fn what_was_done_for_a_cancelled_order_is_undone(fixture: &Fixture) {
    let ids = fixture.sold(96).await;
    let made = at_once(|number| {
        let (store, ids, at) = (Arc::clone(&fixture.store), ids.clone(), fixture.at);
        let tasks = fixture.tasks();
        async move {
            if number % 2 == 0 {
                return do_tasks(&*tasks, number, at).await;
            }
            for id in ids.iter().skip(number).step_by(TASKS) {
                let cancelled = store.cancel(*id, at, None).await;
                assert!(cancelled.unwrap().is_some());
            }
            Vec::new()
        }
    })
    .await;
    let mut made: Vec<(OrderId, TaskKind)> = made.into_iter().flatten().collect();
    made.extend(do_tasks(&*fixture.tasks(), TASKS, fixture.at).await);
    for id in ids {
        let count = |kind| made.iter().filter(|made| **made == (id, kind)).count();
        let (done, undone) = (count(TaskKind::Process), count(TaskKind::Compensate));
        let order = fixture.store.order(id).await.unwrap().unwrap();
        match order.status {
            // What was done before it was cancelled is undone, and stays completed.
            OrderStatus::Completed => {
                let came_back = usize::from(order.is_taken_back());
                assert_eq!((done, undone), (1, came_back));
            }
            // What was claimed and not begun yet may be undone for nothing.
            OrderStatus::Cancelled => assert!(done <= undone && undone < 2, "{done}, {undone}"),
            status => panic!("{status}"),
        }
    }
    fixture.books_balance().await;
}

/// Does what is due, a few at a time; gives what there was to do.
pub(super) async fn do_tasks(
    store: &dyn TaskStore,
    number: usize,
    at: DateTime<Utc>,
) -> Vec<(OrderId, TaskKind)> {
    let mut made = Vec::new();
    for round in 0.. {
        let claim = Claim {
            id: Uuid::from_u128((number as u128) << 64 | round),
            worker_id: Uuid::max(),
            max: 5,
            ahead: 0,
            delay: Duration::ZERO,
            lease: Duration::from_secs(30),
        };
        let claimed = store.claim_tasks(&claim).await.unwrap();
        if claimed.is_empty() {
            break;
        }
        let done =
            |claimed: &Claimed| claimed.result(Uuid::max(), Duration::ZERO, AttemptOutcome::Done);
        let ended: Vec<AttemptResult> = claimed.iter().map(done).collect();
        made.extend(claimed.into_iter().filter_map(|claimed| {
            let order = claimed.order?;
            let is_to_do = match claimed.kind {
                TaskKind::Process => order.status != OrderStatus::Cancelled,
                TaskKind::Compensate => order.is_partly_cancelled(),
            };
            is_to_do.then_some((claimed.lease.order_id, claimed.kind))
        }));
        // Whoever cancels an order holds it for a moment.
        let wrote = loop {
            match store.end_tasks(&ended, at).await {
                Err(Error::Locked) => tokio::task::yield_now().await,
                wrote => break wrote,
            }
        };
        wrote.unwrap();
    }
    made
}

/// Every kind of change at once, over products named in every order. A deadlock would show
/// as an error after the retries, or as a hang.
pub(super) async fn everything_at_once_deadlocks_never(fixture: &Fixture) {
    let (a, b) = (
        fixture.product("a", 500).await.id,
        fixture.product("b", 500).await.id,
    );
    at_once(|number| {
        let (first, second) = if number % 2 == 0 { (a, b) } else { (b, a) };
        let orders = fixture.orders(6, &[(first, 2), (second, 1)]);
        let request = StockRequest::new(1, None).unwrap();
        let adjustments: Vec<_> = [first, second]
            .map(|id| {
                request
                    .clone()
                    .into_adjustment(fixture.adjustment_id(), id, fixture.at)
            })
            .into();
        let (store, at) = (Arc::clone(&fixture.store), fixture.at);
        async move {
            let strategy = Strategy::ALL[number % 3];
            let (accepted, bought) = orders.split_at(3);
            store.accept(accepted).await.unwrap();
            store.purchase(bought, strategy).await.unwrap();
            for adjustment in &adjustments {
                store.adjust_stock(adjustment).await.unwrap();
            }
            store
                .decide(Selection::Oldest(4), strategy, at)
                .await
                .unwrap();
            for order in &orders {
                store.cancel(order.id(), at, None).await.unwrap();
            }
        }
    })
    .await;
    fixture.books_balance().await;
    let restocked = i64::try_from(TASKS).unwrap();
    assert_eq!(fixture.stock(a).await, 500 + restocked);
    assert_eq!(fixture.stock(b).await, 500 + restocked);
}
