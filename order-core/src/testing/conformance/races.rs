//! What a store must do when everybody comes at once. Barriers, not sleeps, let them go.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::{sync::Barrier, task::JoinSet};
use uuid::Uuid;

use super::Bench;
use crate::{
    domain::{OrderId, OrderStatus, StockRequest},
    error::Error,
    process::{Claim, Claimed, Ended, Ending, TaskKind},
    store::{Selection, Store, Strategy},
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

pub(super) async fn the_last_piece_is_sold_once(bench: &Bench) {
    for strategy in Strategy::ALL {
        let product = bench.product("p", 5).await.id;
        let results = at_once(|_| {
            let (store, order) = (Arc::clone(&bench.store), bench.order(&[(product, 1)]));
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
        assert_eq!(bench.stock(product).await, 0, "{strategy}");
    }
    bench.books_balance().await;
}

pub(super) async fn each_order_is_decided_once(bench: &Bench) {
    for strategy in Strategy::ALL {
        let product = bench.product("p", 60).await.id;
        let orders = bench.orders(100, &[(product, 1)]);
        bench.store.accept(&orders).await.unwrap();
        let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
        let decided = at_once(|number| {
            let (store, ids, at) = (Arc::clone(&bench.store), ids.clone(), bench.at);
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
        assert_eq!(bench.stock(product).await, 0, "{strategy}");
    }
    bench.books_balance().await;
}

pub(super) async fn cancelling_and_deciding_agree(bench: &Bench) {
    let product = bench.product("p", 1_000).await.id;
    let orders = bench.orders(50, &[(product, 1)]);
    bench.store.accept(&orders).await.unwrap();
    let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
    at_once(|number| {
        let (store, ids, at) = (Arc::clone(&bench.store), ids.clone(), bench.at);
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
        let order = bench.store.order(id).await.unwrap().unwrap();
        let cancelled = id.0.as_u128() % 2 == 0;
        let expected = if cancelled {
            OrderStatus::Cancelled
        } else {
            OrderStatus::Success
        };
        assert_eq!(order.status, expected);
        held += i64::from(!cancelled);
    }
    assert_eq!(bench.stock(product).await, 1_000 - held);
    bench.books_balance().await;
}

/// Half of them cancel orders while the others do their tasks.
pub(super) async fn what_was_done_for_a_cancelled_order_is_undone(bench: &Bench) {
    let ids = bench.sold(96).await;
    let made = at_once(|number| {
        let (store, ids, at) = (Arc::clone(&bench.store), ids.clone(), bench.at);
        async move {
            if number % 2 == 0 {
                return do_tasks(&*store, number, at).await;
            }
            for id in ids.iter().skip(number).step_by(TASKS) {
                let cancelled = store.cancel(*id, at, None).await;
                assert!(matches!(cancelled, Ok(_) | Err(Error::OrderState { .. })));
            }
            Vec::new()
        }
    })
    .await;
    let mut made: Vec<(OrderId, TaskKind)> = made.into_iter().flatten().collect();
    made.extend(do_tasks(&*bench.store, TASKS, bench.at).await);
    for id in ids {
        let count = |kind| made.iter().filter(|made| **made == (id, kind)).count();
        let (done, undone) = (count(TaskKind::Process), count(TaskKind::Compensate));
        let order = bench.store.order(id).await.unwrap().unwrap();
        match order.status {
            OrderStatus::Completed => assert_eq!((done, undone), (1, 0)),
            // What was claimed and not begun yet may be undone for nothing.
            OrderStatus::Cancelled => assert!(done <= undone && undone < 2, "{done}, {undone}"),
            status => panic!("{status}"),
        }
    }
    bench.books_balance().await;
}

/// Does what is due, a few at a time; gives what there was to do.
async fn do_tasks(store: &dyn Store, number: usize, at: DateTime<Utc>) -> Vec<(OrderId, TaskKind)> {
    let mut made = Vec::new();
    for round in 0.. {
        let claim = Claim {
            id: Uuid::from_u128((number as u128) << 64 | round),
            worker_id: Uuid::max(),
            max: 5,
            delay: Duration::ZERO,
            lease: Duration::from_secs(30),
        };
        let claimed = store.claim_tasks(&claim).await.unwrap();
        if claimed.is_empty() {
            break;
        }
        let done = |claimed: &Claimed| claimed.ended(Uuid::max(), Duration::ZERO, Ending::Done);
        let ended: Vec<Ended> = claimed.iter().map(done).collect();
        made.extend(claimed.into_iter().filter_map(|claimed| {
            let is_cancelled = claimed.order?.status == OrderStatus::Cancelled;
            let is_to_do = claimed.kind.compensates() == is_cancelled;
            is_to_do.then_some((claimed.lease.order_id, claimed.kind))
        }));
        store.end_tasks(&ended, at).await.unwrap();
    }
    made
}

/// Every kind of change at once, over products named in every order. A deadlock would show
/// as an error after the retries, or as a hang.
pub(super) async fn everything_at_once_deadlocks_never(bench: &Bench) {
    let (a, b) = (
        bench.product("a", 500).await.id,
        bench.product("b", 500).await.id,
    );
    at_once(|number| {
        let (first, second) = if number % 2 == 0 { (a, b) } else { (b, a) };
        let orders = bench.orders(6, &[(first, 2), (second, 1)]);
        let request = StockRequest::new(1, None).unwrap();
        let adjustments: Vec<_> = [first, second]
            .map(|id| request.clone().stamp(bench.adjustment_id(), id, bench.at))
            .into();
        let (store, at) = (Arc::clone(&bench.store), bench.at);
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
    bench.books_balance().await;
    let restocked = i64::try_from(TASKS).unwrap();
    assert_eq!(bench.stock(a).await, 500 + restocked);
    assert_eq!(bench.stock(b).await, 500 + restocked);
}
