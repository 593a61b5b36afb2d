//! Checks of the figures for operators.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{fixture::Fixture, races::at_once};
use crate::{
    clock::{Clock, SystemClock},
    domain::{NewOrder, OrderId, OrderStatus, PageRequest, PageSize, PageStart},
    error::Error,
    stats::{OrderCounts, Wait},
    store::{OrderQuery, Selection, Store, Strategy},
};

const WINDOW: Duration = Duration::from_secs(600);

/// Counts the orders of the list, and checks that the counters say the same.
pub(super) async fn counters_are_exact(store: &Arc<dyn Store>) -> OrderCounts {
    let (mut pending, mut success, mut failed, mut cancelled, mut completed) = (0, 0, 0, 0, 0);
    let (mut held, mut expired) = (0, 0);
    let mut start = PageStart::First;
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
                OrderStatus::Held => &mut held,
                OrderStatus::Success => &mut success,
                OrderStatus::Expired => &mut expired,
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
    let stats = Arc::clone(store).stats_store().unwrap();
    let totals = stats.counters(WINDOW).await.unwrap().totals;
    let counted = (totals.pending(), totals.success(), totals.failed);
    assert_eq!(counted, (pending, success, failed), "{totals:?}");
    assert_eq!((totals.cancelled, totals.completed), (cancelled, completed));
    assert_eq!((totals.on_hold(), totals.expired), (held, expired));
    let all = pending + held + success + failed + expired + cancelled + completed;
    assert_eq!(totals.accepted, all);
    totals
}

fn ids(orders: &[NewOrder]) -> Vec<OrderId> {
    orders.iter().map(NewOrder::id).collect()
}

pub(super) async fn every_milestone_is_counted(fixture: &Fixture) {
    let (store, product) = (&fixture.store, fixture.product("p", 10).await.id);
    assert_eq!(counters_are_exact(store).await, OrderCounts::default());
    let began = SystemClock.now() - TimeDelta::seconds(1);
    for strategy in Strategy::ALL {
        let mut orders = fixture.orders(4, &[(product, 1)]);
        orders.push(fixture.order(&[(product, 99)]));
        store.accept(&orders).await.unwrap();
        // The same again counts once.
        store.accept(&orders[..1]).await.unwrap();
        let bought = [
            fixture.order(&[(product, 1)]),
            fixture.order(&[(product, 99)]),
            fixture.order(&[(product, 1)]),
        ];
        let ids = ids(&orders);
        // One leaves before its decision, and one after.
        store.cancel(ids[0], fixture.at, None).await.unwrap();
        store
            .decide(Selection::ByIds(&ids), strategy, fixture.at)
            .await
            .unwrap();
        store.cancel(ids[1], fixture.at, None).await.unwrap();
        store.cancel(ids[1], fixture.at, None).await.unwrap();
        store.purchase(&bought, strategy).await.unwrap();
        for id in [ids[2], ids[3], bought[0].id(), bought[2].id()] {
            store.cancel(id, fixture.at, None).await.unwrap();
        }
        counters_are_exact(store).await;
    }
    let counters = fixture.stats().counters(WINDOW).await.unwrap();
    let expected = OrderCounts {
        accepted: 21,
        sold: 15,
        failed: 3,
        completed: 0,
        cancelled: 18,
        returned: 15,
        ..OrderCounts::default()
    };
    assert_eq!(counters.totals, expected);
    let mut sum = OrderCounts::default();
    for second in &counters.seconds {
        assert!(began <= second.at && second.at <= counters.at, "{second:?}");
        sum += second.counts;
    }
    assert_eq!(sum, expected, "each in its second");
    let (hour, step) = (Duration::from_hours(1), Duration::from_mins(1));
    let history = fixture.stats().history(hour, step).await.unwrap();
    let mut sum = OrderCounts::default();
    for step in &history.seconds {
        sum += step.counts;
    }
    assert_eq!((history.totals, sum), (expected, expected));
    assert!(history.seconds.len() <= 2, "{history:?}");
}

/// Long after, the rows are few, and say the same.
pub(super) async fn compacting_changes_no_sum(fixture: &Fixture) {
    let stats = fixture.stats();
    let (store, product) = (&fixture.store, fixture.product("p", 100).await.id);
    for _ in 0..20 {
        let order = fixture.order(&[(product, 1)]);
        store.purchase(&[order], Strategy::Batch).await.unwrap();
    }
    let totals = counters_are_exact(store).await;
    for later in [
        Duration::from_secs(2),
        Duration::from_hours(1),
        Duration::from_hours(48),
        Duration::from_hours(24 * 60),
    ] {
        stats.compact_counters(later).await.unwrap();
        assert_eq!(counters_are_exact(store).await, totals, "after {later:?}");
        let again = stats.compact_counters(later).await.unwrap();
        assert_eq!(again, 0, "all is compacted after {later:?}");
    }
    assert_eq!(stats.counters(WINDOW).await.unwrap().totals, totals);
}

/// Everything at once, while some compact.
pub(super) async fn counters_are_exact_when_everybody_comes(fixture: &Fixture) {
    let product = fixture.product("p", 200).await.id;
    at_once(|number| {
        let (store, at) = (Arc::clone(&fixture.store), fixture.at);
        let orders = fixture.orders(30, &[(product, 1)]);
        async move {
            if number % 4 == 0 {
                let stats = Arc::clone(&store).stats_store().unwrap();
                for hours in 0..10 {
                    stats
                        .compact_counters(Duration::from_hours(hours))
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
    let totals = counters_are_exact(&fixture.store).await;
    assert!(totals.failed > 0 && totals.returned > 0, "{totals:?}");
    fixture
        .stats()
        .compact_counters(Duration::from_hours(24))
        .await
        .unwrap();
    assert_eq!(counters_are_exact(&fixture.store).await, totals);
}

pub(super) async fn the_newest_orders_are_told_about(fixture: &Fixture) {
    let (store, stats) = (&fixture.store, fixture.stats());
    assert_eq!(stats.oldest_pending().await.unwrap(), None);
    assert_eq!(stats.hot_products(10, 10).await.unwrap(), []);
    let (a, b) = (
        fixture.product("a", 50).await.id,
        fixture.product("b", 50).await.id,
    );
    let gone = fixture.product("gone", 50).await.id;
    let orders = [
        fixture.order(&[(gone, 40)]),
        fixture.order(&[(a, 30)]),
        fixture.order(&[(a, 2), (b, 3)]),
        fixture.order(&[(b, 4), (gone, 9)]),
    ];
    store.accept(&orders).await.unwrap();
    store.archive_product(gone, &[], fixture.at).await.unwrap();
    let ids = ids(&orders);
    let oldest = stats.oldest_pending().await.unwrap().unwrap();
    assert_eq!(oldest.id, ids[0]);

    let later: DateTime<Utc> = fixture.at + TimeDelta::milliseconds(40);
    let decided = store.decide(Selection::Oldest(2), Strategy::Batch, later);
    assert_eq!(decided.await.unwrap().results.len(), 2);
    let waits = async || -> Vec<_> {
        let seconds = stats.counters(WINDOW).await.unwrap().seconds.into_iter();
        seconds
            .filter_map(|second| Some((second.mean_wait?, second.longest_wait?)))
            .collect()
    };
    let wait = Duration::from_millis(40);
    assert_eq!(waits().await, [(wait, wait)]);
    let oldest = stats.oldest_pending().await.unwrap().unwrap();
    assert_eq!(oldest.id, ids[2]);
    let wait = Wait {
        since: fixture.at,
        until: later,
    };
    let all = OrderId(Uuid::max());
    assert_eq!(stats.waits(all, 10).await.unwrap(), [wait, wait]);
    assert_eq!(stats.waits(all, 3).await.unwrap(), [wait]);
    assert_eq!(stats.waits(ids[1], 10).await.unwrap(), [wait]);
    let bought = fixture.order(&[(b, 1)]);
    store.purchase(&[bought], Strategy::Batch).await.unwrap();
    assert_eq!(stats.waits(all, 1).await.unwrap(), [], "it did not wait");
    let longer = fixture.at + TimeDelta::milliseconds(100);
    let decided = store.decide(Selection::Oldest(1), Strategy::Batch, longer);
    assert_eq!(decided.await.unwrap().results.len(), 1);
    let seen = waits().await;
    let mean = if seen.len() == 1 { 60 } else { 100 }; // They may be in one second.
    let expected = [mean, 100].map(Duration::from_millis).into();
    assert_eq!(seen.last().copied(), Some(expected));
    stats
        .compact_counters(Duration::from_secs(2))
        .await
        .unwrap();
    assert_eq!(waits().await, seen);

    let hottest = async |orders, limit| -> Vec<_> {
        let hot = stats.hot_products(orders, limit).await.unwrap();
        hot.into_iter()
            .map(|hot| (hot.product.id, hot.product.stock, hot.wanted))
            .collect()
    };
    assert_eq!(hottest(10, 10).await, [(a, 18, 32), (b, 46, 8)]);
    assert_eq!(hottest(10, 1).await, [(a, 18, 32)]);
    assert_eq!(hottest(3, 10).await, [(b, 46, 8), (a, 18, 2)]);
}
