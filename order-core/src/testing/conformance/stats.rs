//! What a store must tell operators.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Bench, races::at_once};
use crate::{
    clock::{Clock, SystemClock},
    domain::{NewOrder, OrderId, OrderStatus, PageRequest, PageSize, PageStart},
    error::Error,
    stats::{Counts, Wait},
    store::{OrderQuery, Selection, Store, Strategy},
};

const WINDOW: Duration = Duration::from_secs(600);

/// Counts what the list of orders says, and checks that the tallies say the same.
pub(super) async fn tallies_are_exact(store: &Arc<dyn Store>) -> Counts {
    let (mut pending, mut success, mut failed, mut cancelled, mut completed) = (0, 0, 0, 0, 0);
    let mut start = PageStart::Newest;
    loop {
        let size = PageSize::new(100).unwrap();
        let query = OrderQuery {
            page: PageRequest { size, start },
            ..OrderQuery::default()
        };
        let page = store.orders(&query).await.unwrap();
        for order in &page.items {
            *match order.status {
                OrderStatus::Pending => &mut pending,
                OrderStatus::Success => &mut success,
                OrderStatus::Failed => &mut failed,
                OrderStatus::Cancelled => &mut cancelled,
                OrderStatus::Completed => &mut completed,
            } += 1;
        }
        match page.next {
            Some(id) => start = PageStart::After(id),
            None => break,
        }
    }
    let totals = store.tallies(WINDOW).await.unwrap().totals;
    let told = (totals.pending(), totals.success(), totals.failed);
    assert_eq!(told, (pending, success, failed), "{totals:?}");
    assert_eq!((totals.cancelled, totals.completed), (cancelled, completed));
    let all = pending + success + failed + cancelled + completed;
    assert_eq!(totals.accepted, all);
    totals
}

fn ids(orders: &[NewOrder]) -> Vec<OrderId> {
    orders.iter().map(NewOrder::id).collect()
}

pub(super) async fn every_milestone_is_tallied(bench: &Bench) {
    let (store, product) = (&bench.store, bench.product("p", 10).await.id);
    assert_eq!(tallies_are_exact(store).await, Counts::default());
    let began = SystemClock.now() - TimeDelta::seconds(1);
    for strategy in Strategy::ALL {
        let mut orders = bench.orders(4, &[(product, 1)]);
        orders.push(bench.order(&[(product, 99)]));
        store.accept(&orders).await.unwrap();
        // The same again counts once.
        store.accept(&orders[..1]).await.unwrap();
        let bought = [
            bench.order(&[(product, 1)]),
            bench.order(&[(product, 99)]),
            bench.order(&[(product, 1)]),
        ];
        let ids = ids(&orders);
        // One leaves before its decision, and one after.
        store.cancel(ids[0], bench.at, None).await.unwrap();
        store
            .decide(Selection::ByIds(&ids), strategy, bench.at)
            .await
            .unwrap();
        store.cancel(ids[1], bench.at, None).await.unwrap();
        store.cancel(ids[1], bench.at, None).await.unwrap();
        store.purchase(&bought, strategy).await.unwrap();
        for id in [ids[2], ids[3], bought[0].id(), bought[2].id()] {
            store.cancel(id, bench.at, None).await.unwrap();
        }
        tallies_are_exact(store).await;
    }
    let tallies = store.tallies(WINDOW).await.unwrap();
    let expected = Counts {
        accepted: 21,
        sold: 15,
        failed: 3,
        completed: 0,
        cancelled: 18,
        returned: 15,
    };
    assert_eq!(tallies.totals, expected);
    let mut sum = Counts::default();
    for second in &tallies.seconds {
        assert!(began <= second.at && second.at <= tallies.at, "{second:?}");
        sum += second.counts;
    }
    assert_eq!(sum, expected, "each in its second");
}

/// Long after, the rows are few, and say the same.
pub(super) async fn folding_changes_no_sum(bench: &Bench) {
    let (store, product) = (&bench.store, bench.product("p", 100).await.id);
    for _ in 0..20 {
        let order = bench.order(&[(product, 1)]);
        store.purchase(&[order], Strategy::Batch).await.unwrap();
    }
    let totals = tallies_are_exact(store).await;
    for later in [
        Duration::from_secs(2),
        Duration::from_hours(1),
        Duration::from_hours(48),
        Duration::from_hours(24 * 60),
    ] {
        store.fold_tallies(later).await.unwrap();
        assert_eq!(tallies_are_exact(store).await, totals, "after {later:?}");
        let again = store.fold_tallies(later).await.unwrap();
        assert_eq!(again, 0, "all is folded after {later:?}");
    }
    assert_eq!(store.tallies(WINDOW).await.unwrap().totals, totals);
}

/// Everything at once, while some fold.
pub(super) async fn tallies_are_exact_when_everybody_comes(bench: &Bench) {
    let product = bench.product("p", 200).await.id;
    at_once(|number| {
        let (store, at) = (Arc::clone(&bench.store), bench.at);
        let orders = bench.orders(30, &[(product, 1)]);
        async move {
            if number % 4 == 0 {
                for hours in 0..10 {
                    store
                        .fold_tallies(Duration::from_hours(hours))
                        .await
                        .unwrap();
                }
                return;
            }
            let strategy = Strategy::ALL[number % 3];
            let (accepted, bought) = orders.split_at(20);
            store.accept(accepted).await.unwrap();
            for order in bought {
                store
                    .purchase(std::slice::from_ref(order), strategy)
                    .await
                    .unwrap();
            }
            store
                .decide(Selection::Oldest(15), strategy, at)
                .await
                .unwrap();
            for order in accepted.iter().step_by(3) {
                match store.cancel(order.id(), at, None).await {
                    Ok(_) | Err(Error::OrderState { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    })
    .await;
    let totals = tallies_are_exact(&bench.store).await;
    assert!(totals.failed > 0 && totals.returned > 0, "{totals:?}");
    bench
        .store
        .fold_tallies(Duration::from_hours(24))
        .await
        .unwrap();
    assert_eq!(tallies_are_exact(&bench.store).await, totals);
}

pub(super) async fn the_newest_orders_are_told_about(bench: &Bench) {
    let store = &bench.store;
    assert_eq!(store.oldest_pending().await.unwrap(), None);
    assert_eq!(store.hot_products(10, 10).await.unwrap(), []);
    let (a, b) = (
        bench.product("a", 50).await.id,
        bench.product("b", 50).await.id,
    );
    let gone = bench.product("gone", 50).await.id;
    let orders = [
        bench.order(&[(gone, 40)]),
        bench.order(&[(a, 30)]),
        bench.order(&[(a, 2), (b, 3)]),
        bench.order(&[(b, 4), (gone, 9)]),
    ];
    store.accept(&orders).await.unwrap();
    store.archive_product(gone, bench.at).await.unwrap();
    let ids = ids(&orders);
    let oldest = store.oldest_pending().await.unwrap().unwrap();
    assert_eq!(oldest.id, ids[0]);

    let later: DateTime<Utc> = bench.at + TimeDelta::milliseconds(40);
    let decided = store.decide(Selection::Oldest(2), Strategy::Batch, later);
    assert_eq!(decided.await.unwrap().results.len(), 2);
    let waits = async || -> Vec<_> {
        let told = store.tallies(WINDOW).await.unwrap().seconds.into_iter();
        told.filter_map(|second| Some((second.mean_wait?, second.longest_wait?)))
            .collect()
    };
    let wait = Duration::from_millis(40);
    assert_eq!(waits().await, [(wait, wait)]);
    let oldest = store.oldest_pending().await.unwrap().unwrap();
    assert_eq!(oldest.id, ids[2]);
    let wait = Wait {
        since: bench.at,
        until: later,
    };
    let all = OrderId(Uuid::max());
    assert_eq!(store.waits(all, 10).await.unwrap(), [wait, wait]);
    assert_eq!(store.waits(all, 3).await.unwrap(), [wait]);
    assert_eq!(store.waits(ids[1], 10).await.unwrap(), [wait]);
    let bought = bench.order(&[(b, 1)]);
    store.purchase(&[bought], Strategy::Batch).await.unwrap();
    assert_eq!(store.waits(all, 1).await.unwrap(), [], "it did not wait");
    let longer = bench.at + TimeDelta::milliseconds(100);
    let decided = store.decide(Selection::Oldest(1), Strategy::Batch, longer);
    assert_eq!(decided.await.unwrap().results.len(), 1);
    let told = waits().await;
    let mean = if told.len() == 1 { 60 } else { 100 }; // They may be in one second.
    let expected = [mean, 100].map(Duration::from_millis).into();
    assert_eq!(told.last().copied(), Some(expected));
    store.fold_tallies(Duration::from_secs(2)).await.unwrap();
    assert_eq!(waits().await, told);

    let told = async |orders, limit| -> Vec<_> {
        let hot = store.hot_products(orders, limit).await.unwrap();
        hot.into_iter()
            .map(|hot| (hot.product.id, hot.product.stock, hot.wanted))
            .collect()
    };
    assert_eq!(told(10, 10).await, [(a, 18, 32), (b, 46, 8)]);
    assert_eq!(told(10, 1).await, [(a, 18, 32)]);
    assert_eq!(told(3, 10).await, [(b, 46, 8), (a, 18, 2)]);
}
