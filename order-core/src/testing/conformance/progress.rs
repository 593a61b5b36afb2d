//! What a store must tell those who follow orders.

use uuid::Uuid;

use super::Bench;
use crate::{
    domain::{OrderId, OrderStatus, Progress},
    store::{Backlog, Pick, Strategy},
};

pub(super) async fn where_orders_stand_is_what_they_say(bench: &Bench) {
    let product = bench.product("p", 3).await.id;
    let mut orders = bench.orders(4, &[(product, 1)]);
    orders.push(bench.order(&[(product, 9)]));
    bench.store.accept(&orders).await.unwrap();
    let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
    let store = &bench.store;
    store.cancel(ids[3], bench.at, None).await.unwrap();
    let decided = store.decide(Pick::These(&ids[1..]), Strategy::Batch, bench.at);
    assert_eq!(decided.await.unwrap().results.len(), 3);
    store.cancel(ids[2], bench.at, None).await.unwrap();

    let mut asked = vec![OrderId(Uuid::nil())];
    asked.extend(&ids);
    let mut told = store.progress(&asked).await.unwrap();
    told.sort_unstable_by_key(|progress| progress.id);
    let mut known = Vec::new();
    for id in &ids {
        known.push(Progress::from(&store.order(*id).await.unwrap().unwrap()));
    }
    assert_eq!(told, known);
    use OrderStatus::{Cancelled, Failed, Pending, Success};
    let states: Vec<OrderStatus> = told.iter().map(|progress| progress.status).collect();
    assert_eq!(states, [Pending, Success, Cancelled, Cancelled, Failed]);
    for progress in &told {
        assert_eq!(progress.stages().last(), Some(&progress.stage()));
    }
    assert_eq!(store.progress(&[]).await.unwrap(), []);
}

pub(super) async fn the_backlog_is_what_is_pending(bench: &Bench) {
    let store = &bench.store;
    let backlog = async || store.backlog().await.unwrap();
    assert_eq!(backlog().await, Backlog::default());
    let product = bench.product("p", 9).await.id;
    let orders = bench.orders(4, &[(product, 1)]);
    store.accept(&orders).await.unwrap();
    let bought = bench.orders(1, &[(product, 1)]);
    store.purchase(&bought, Strategy::Batch).await.unwrap();
    let waiting = |orders| Backlog {
        orders,
        oldest_at: Some(bench.at),
    };
    assert_eq!(backlog().await, waiting(4));
    store.cancel(orders[0].id(), bench.at, None).await.unwrap();
    let decided = store
        .decide(Pick::Oldest(2), Strategy::Batch, bench.at)
        .await;
    assert_eq!(decided.unwrap().results.len(), 2);
    assert_eq!(backlog().await, waiting(1));
}
