//! What a store must tell those who follow orders.

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use uuid::Uuid;

use super::Bench;
use crate::{
    domain::{IdGenerator, OrderId, OrderStatus, Progress},
    store::{Backlog, Selection, Strategy},
};

pub(super) async fn where_orders_stand_is_what_they_say(bench: &Bench) {
    let product = bench.product("p", 3).await.id;
    let mut orders = bench.orders(4, &[(product, 1)]);
    orders.push(bench.order(&[(product, 9)]));
    bench.store.accept(&orders).await.unwrap();
    let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
    let store = &bench.store;
    store.cancel(ids[3], bench.at, None).await.unwrap();
    let decided = store.decide(Selection::ByIds(&ids[1..]), Strategy::Batch, bench.at);
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
    let backlog = async || {
        let Backlog { orders, oldest_age } = store.backlog().await.unwrap();
        (orders, oldest_age.is_some())
    };
    assert_eq!(backlog().await, (0, false));
    let product = bench.product("p", 9).await.id;
    let orders = bench.orders(4, &[(product, 1)]);
    store.accept(&orders).await.unwrap();
    let bought = bench.orders(1, &[(product, 1)]);
    store.purchase(&bought, Strategy::Batch).await.unwrap();
    assert_eq!(backlog().await, (4, true));
    store.cancel(orders[0].id(), bench.at, None).await.unwrap();
    let decided = store
        .decide(Selection::Oldest(2), Strategy::Batch, bench.at)
        .await;
    assert_eq!(decided.unwrap().results.len(), 2);
    assert_eq!(backlog().await, (1, true));
}

/// Whatever time the server that accepted it says.
pub(super) async fn what_is_pending_grows_old_by_the_clock_of_the_store(bench: &Bench) {
    let (store, hour) = (&bench.store, Duration::from_secs(3_600));
    let product = bench.product("p", 9).await.id;
    let mut orders = bench.orders(2, &[(product, 1)]);
    let early = Bench {
        store: Arc::clone(store),
        time: Arc::clone(&bench.time),
        ids: IdGenerator::default(),
        at: DateTime::from_timestamp(1_000_000_000, 0).unwrap(),
    };
    orders.extend(early.orders(1, &[(product, 1)]));
    let ids: Vec<OrderId> = [2, 0, 1].map(|number: usize| orders[number].id()).into();
    store.accept(&orders).await.unwrap();
    let pending_for = async |age| store.pending_for(age, None, 9).await.unwrap();
    let age = async || {
        let backlog = store.backlog().await.unwrap().oldest_age.unwrap();
        let oldest = store.oldest_pending().await.unwrap().unwrap();
        assert_eq!(oldest.id, ids[0]);
        assert!(backlog.abs_diff(oldest.age) < hour / 60);
        oldest.age
    };
    assert_eq!(pending_for(hour).await, []);
    assert_eq!(pending_for(Duration::ZERO).await, ids);
    assert!(age().await < hour / 2);
    bench.wait(3_601).await;
    assert_eq!(pending_for(hour).await, ids);
    let after = async |id, limit| store.pending_for(hour, id, limit).await.unwrap();
    assert_eq!(after(None, 1).await, ids[..1]);
    assert_eq!(after(Some(ids[0]), 9).await, ids[1..]);
    assert_eq!(after(ids.last().copied(), 9).await, []);
    assert_eq!(pending_for(2 * hour).await, []);
    assert_eq!(pending_for(Duration::MAX).await, []);
    assert!(age().await >= hour);
}
