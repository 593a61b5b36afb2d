//! Checks of the progress of orders.

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use uuid::Uuid;

use super::fixture::Fixture;
use crate::{
    domain::{IdGenerator, OrderId, OrderStatus, Progress},
    store::{Backlog, Selection, Strategy},
};

pub(super) async fn where_orders_stand_is_what_they_say(fixture: &Fixture) {
    let product = fixture.product("p", 3).await.id;
    let mut orders = fixture.orders(4, &[(product, 1)]);
    orders.push(fixture.order(&[(product, 9)]));
    fixture.store.accept(&orders).await.unwrap();
    let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
    let store = &fixture.store;
    store.cancel(ids[3], fixture.at, None).await.unwrap();
    let decided = store.decide(Selection::ByIds(&ids[1..]), Strategy::Batch, fixture.at);
    assert_eq!(decided.await.unwrap().results.len(), 3);
    store.cancel(ids[2], fixture.at, None).await.unwrap();

    let mut asked = vec![OrderId(Uuid::nil())];
    asked.extend(&ids);
    let mut found = store.progress(&asked).await.unwrap();
    found.sort_unstable_by_key(|progress| progress.id);
    let mut known = Vec::new();
    for id in &ids {
        known.push(Progress::from(&store.order(*id).await.unwrap().unwrap()));
    }
    assert_eq!(found, known);
    use OrderStatus::{Cancelled, Failed, Pending, Success};
    let states: Vec<OrderStatus> = found.iter().map(|progress| progress.status).collect();
    assert_eq!(states, [Pending, Success, Cancelled, Cancelled, Failed]);
    for progress in &found {
        assert_eq!(progress.stages().last(), Some(&progress.stage()));
    }
    assert_eq!(store.progress(&[]).await.unwrap(), []);
}

pub(super) async fn the_backlog_is_what_is_pending(fixture: &Fixture) {
    let store = &fixture.store;
    let backlog = async || {
        let Backlog { orders, oldest_age } = store.backlog().await.unwrap();
        (orders, oldest_age.is_some())
    };
    assert_eq!(backlog().await, (0, false));
    let product = fixture.product("p", 9).await.id;
    let orders = fixture.orders(4, &[(product, 1)]);
    store.accept(&orders).await.unwrap();
    let bought = fixture.orders(1, &[(product, 1)]);
    store.purchase(&bought, Strategy::Batch).await.unwrap();
    assert_eq!(backlog().await, (4, true));
    store
        .cancel(orders[0].id(), fixture.at, None)
        .await
        .unwrap();
    let decided = store
        .decide(Selection::Oldest(2), Strategy::Batch, fixture.at)
        .await;
    assert_eq!(decided.unwrap().results.len(), 2);
    assert_eq!(backlog().await, (1, true));
}

/// Whatever time the server that accepted it says.
pub(super) async fn what_is_pending_grows_old_by_the_clock_of_the_store(fixture: &Fixture) {
    let (store, hour) = (&fixture.store, Duration::from_secs(3_600));
    let product = fixture.product("p", 9).await.id;
    let mut orders = fixture.orders(2, &[(product, 1)]);
    let early = Fixture {
        store: Arc::clone(store),
        time: Arc::clone(&fixture.time),
        ids: IdGenerator::default(),
        at: DateTime::from_timestamp(1_000_000_000, 0).unwrap(),
    };
    orders.extend(early.orders(1, &[(product, 1)]));
    let ids: Vec<OrderId> = [2, 0, 1].map(|number: usize| orders[number].id()).into();
    store.accept(&orders).await.unwrap();
    let pending_for = async |age| store.pending_for(age, None, 9).await.unwrap();
    let age = async || {
        let backlog = store.backlog().await.unwrap().oldest_age.unwrap();
        if let Some(stats) = Arc::clone(store).stats_store() {
            let oldest = stats.oldest_pending().await.unwrap().unwrap();
            assert_eq!(oldest.id, ids[0]);
            assert!(backlog.abs_diff(oldest.age) < hour / 60);
        }
        backlog
    };
    assert_eq!(pending_for(hour).await, []);
    assert_eq!(pending_for(Duration::ZERO).await, ids);
    assert!(age().await < hour / 2);
    fixture.wait(3_601).await;
    assert_eq!(pending_for(hour).await, ids);
    let after = async |id, limit| store.pending_for(hour, id, limit).await.unwrap();
    assert_eq!(after(None, 1).await, ids[..1]);
    assert_eq!(after(Some(ids[0]), 9).await, ids[1..]);
    assert_eq!(after(ids.last().copied(), 9).await, []);
    assert_eq!(pending_for(2 * hour).await, []);
    assert_eq!(pending_for(Duration::MAX).await, []);
    assert!(age().await >= hour);
}

pub(super) async fn what_is_pending_is_counted(fixture: &Fixture) {
    assert_eq!(fixture.store.backlog().await.unwrap(), Default::default());
    let product = fixture.product("p", 100).await;
    let orders = fixture.orders(3, &[(product.id, 1)]);
    fixture.store.accept(&orders).await.unwrap();
    assert_eq!(fixture.store.backlog().await.unwrap().orders, 3);
}
