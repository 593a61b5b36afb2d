//! What a store must do when everybody comes at once. Barriers, not sleeps, let them go.

use std::sync::Arc;

use tokio::{sync::Barrier, task::JoinSet};

use super::Bench;
use crate::{
    domain::{OrderId, OrderStatus, StockRequest},
    error::Error,
    store::{Pick, Strategy},
};

const TASKS: usize = 16;

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
                    Pick::Oldest(70)
                } else {
                    Pick::These(&ids)
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
                    .decide(Pick::These(&ids), Strategy::Batch, at)
                    .await
                    .unwrap();
                return;
            }
            for id in ids.iter().filter(|id| id.0.as_u128() % 2 == 0) {
                store.cancel(*id, at).await.unwrap();
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
            store.decide(Pick::Oldest(4), strategy, at).await.unwrap();
            for order in &orders {
                store.cancel(order.id(), at).await.unwrap();
            }
        }
    })
    .await;
    bench.books_balance().await;
    let restocked = i64::try_from(TASKS).unwrap();
    assert_eq!(bench.stock(a).await, 500 + restocked);
    assert_eq!(bench.stock(b).await, 500 + restocked);
}
