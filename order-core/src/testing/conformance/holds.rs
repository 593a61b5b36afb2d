//! Checks of holds.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{fixture::Fixture, stats::counters_are_exact};
use crate::{
    domain::{
        FailureCode, HoldTime, MAX_STOCK, NewOrder, Order, OrderId, OrderStatus, ProductChange,
        ProductId, StockRequest,
    },
    error::Error,
    store::{OrderQuery, Selection, Strategy},
};

fn seconds(seconds: i64) -> HoldTime {
    HoldTime::new(seconds).unwrap()
}

fn held_order(fixture: &Fixture, lines: &[(ProductId, i64)], hold: i64) -> NewOrder {
    let order = fixture.order(lines);
    let (id, at) = (order.id(), order.created_at());
    let request = order.into_request().held_for(Some(seconds(hold)));
    request.into_new_order(id, at)
}

pub(super) async fn buy(fixture: &Fixture, order: &NewOrder) -> Result<Order, Error> {
    let orders = std::slice::from_ref(order);
    let outcome = fixture.store.purchase(orders, Strategy::Batch).await;
    outcome.unwrap().results.remove(0)
}

pub(super) async fn hold(fixture: &Fixture, lines: &[(ProductId, i64)], for_seconds: i64) -> Order {
    let order = held_order(fixture, lines, for_seconds);
    buy(fixture, &order).await.unwrap()
}

pub(super) async fn confirm(fixture: &Fixture, id: OrderId) -> Result<Option<Order>, Error> {
    let confirmed = fixture.store.confirm(&[id], fixture.at).await;
    confirmed.unwrap().remove(0)
}

async fn status(fixture: &Fixture, id: OrderId) -> OrderStatus {
    fixture.store.order(id).await.unwrap().unwrap().status
}

pub(super) async fn expire(fixture: &Fixture) -> Vec<OrderId> {
    let expired = fixture.store.expire(None, 100, fixture.at).await.unwrap();
    assert_eq!(expired.next, None);
    expired.orders
}

async fn tasks(fixture: &Fixture) -> Vec<OrderId> {
    let claimed = fixture.claim(100).await;
    claimed.into_iter().map(|it| it.lease.order_id).collect()
}

/// Both ways to buy, with every strategy.
pub(super) async fn an_order_is_held_and_confirmed(fixture: &Fixture) {
    let product = fixture.product("p", 100).await.id;
    for strategy in Strategy::ALL {
        let stock = fixture.stock(product).await;
        let accepted = held_order(fixture, &[(product, 2)], 60);
        let refused = held_order(fixture, &[(product, 101)], 60);
        let both = [accepted.clone(), refused.clone()];
        for result in fixture.store.accept(&both).await.unwrap() {
            assert_eq!(result.unwrap().status, OrderStatus::Pending);
        }
        let ids = [accepted.id(), refused.id()];
        let decided = fixture
            .store
            .decide(Selection::ByIds(&ids), strategy, fixture.at)
            .await
            .unwrap();
        assert_eq!(decided.changed[0].stock, stock - 2);
        let bought = held_order(fixture, &[(product, 1), (product, 2)], 60);
        let plain = fixture.order(&[(product, 1)]);
        let orders = [bought.clone(), plain.clone()];
        let outcome = fixture.store.purchase(&orders, strategy).await.unwrap();
        let told = outcome.results[0].clone().unwrap();
        assert_eq!(
            outcome.results[1].as_ref().unwrap().status,
            OrderStatus::Success
        );
        assert_eq!(fixture.stock(product).await, stock - 6);
        let failed = fixture.store.order(refused.id()).await.unwrap().unwrap();
        let code = failed.failure.unwrap().code;
        assert_eq!(
            (failed.held_until, code),
            (None, FailureCode::InsufficientStock)
        );
        for id in [accepted.id(), bought.id()] {
            let order = fixture.store.order(id).await.unwrap().unwrap();
            assert_eq!(order.status, OrderStatus::Held);
            let held_for = order.held_until.unwrap() - order.held_at.unwrap();
            assert_eq!(held_for, TimeDelta::seconds(60));
            assert!(
                id != bought.id() || order == told,
                "{order:?} is not {told:?}"
            );
            assert_eq!(
                fixture.store.progress(&[id]).await.unwrap()[0]
                    .stage()
                    .status,
                OrderStatus::Held
            );
        }
        // Tasks begin when an order is confirmed.
        assert_eq!(tasks(fixture).await, [plain.id()]);
        for id in [accepted.id(), bought.id()] {
            let order = confirm(fixture, id).await.unwrap().unwrap();
            assert_eq!(order.status, OrderStatus::Success);
            assert_eq!(order.confirmed_at, Some(fixture.at));
            assert_eq!(confirm(fixture, id).await.unwrap(), Some(order));
            assert_eq!(tasks(fixture).await, [id]);
        }
        assert_eq!(expire(fixture).await, []);
        counters_are_exact(&fixture.store).await;
        fixture.books_balance().await;
    }
}

/// The price is that of the acceptance; what is confirmed can be cancelled, and its task goes.
pub(super) async fn a_confirmed_order_is_sold_like_any_other(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let order = hold(fixture, &[(product, 4)], 60).await;
    let dear = ProductChange::default().price("9.99".parse().unwrap());
    let dear = dear.unwrap();
    let changed = fixture
        .store
        .update_product(product, &dear, fixture.adjustment_id(), fixture.at);
    changed.await.unwrap();
    let sold = confirm(fixture, order.id).await.unwrap().unwrap();
    assert_eq!(sold.total_price, order.total_price);
    fixture
        .store
        .cancel(order.id, fixture.at, None)
        .await
        .unwrap();
    assert_eq!(fixture.stock(product).await, 10);
    assert_eq!(tasks(fixture).await, []);
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

/// Whether somebody has expired it or not.
pub(super) async fn a_hold_cannot_be_confirmed_after_its_time(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let order = hold(fixture, &[(product, 4)], 60).await;
    fixture.wait(59).await;
    assert_eq!(expire(fixture).await, []);
    fixture.wait(2).await;
    for step in ["lapsed", "expired"] {
        let confirmed = confirm(fixture, order.id).await;
        assert!(
            matches!(&confirmed, Err(Error::HoldExpired { .. })),
            "{step}: {confirmed:?}"
        );
        let extended = fixture.store.extend(order.id, seconds(60)).await;
        assert!(
            matches!(&extended, Err(Error::HoldExpired { .. })),
            "{step}: {extended:?}"
        );
        if step == "lapsed" {
            assert_eq!(status(fixture, order.id).await, OrderStatus::Held);
            assert_eq!(expire(fixture).await, [order.id]);
        }
    }
    assert_eq!(status(fixture, order.id).await, OrderStatus::Expired);
    assert_eq!(fixture.stock(product).await, 10);
    assert_eq!(expire(fixture).await, []);
    assert_eq!(tasks(fixture).await, []);
    let cancelled = fixture.store.cancel(order.id, fixture.at, None).await;
    let status = OrderStatus::Expired;
    assert!(matches!(cancelled, Err(Error::OrderState { status: s }) if s == status));
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

pub(super) async fn a_hold_is_extended_up_to_a_day(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let order = hold(fixture, &[(product, 1)], 3_600).await;
    let first = order.held_until.unwrap();
    let extended = fixture.store.extend(order.id, seconds(60)).await.unwrap();
    assert_eq!(extended.unwrap().held_until, Some(first), "never shorter");
    fixture.wait(3_000).await;
    let extended = fixture.store.extend(order.id, seconds(3_600)).await;
    let longer = extended.unwrap().unwrap();
    let stored = fixture.store.order(order.id).await.unwrap().unwrap();
    assert_eq!(stored, longer);
    let held_for = longer.held_until.unwrap() - longer.held_at.unwrap();
    let about = TimeDelta::seconds(6_600)..TimeDelta::seconds(6_660);
    assert!(about.contains(&held_for), "{held_for}");
    let too_long = fixture.store.extend(order.id, seconds(86_400)).await;
    assert!(
        matches!(&too_long, Err(Error::Invalid { field, .. }) if field == "hold_seconds"),
        "{too_long:?}"
    );
    fixture.wait(3_000).await;
    assert_eq!(expire(fixture).await, []);
    fixture.books_balance().await;
    assert!(confirm(fixture, order.id).await.is_ok());
}

/// The edges that are not in the diagram.
pub(super) async fn only_what_is_held_is_confirmed_or_extended(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let sold = fixture.order(&[(product, 1)]);
    buy(fixture, &sold).await.unwrap();
    let pending = held_order(fixture, &[(product, 1)], 60);
    let failed = held_order(fixture, &[(product, 11)], 60);
    let waiting = [pending.clone(), failed.clone()];
    fixture.store.accept(&waiting).await.unwrap();
    let ids = [failed.id()];
    let decided = fixture
        .store
        .decide(Selection::ByIds(&ids), Strategy::Batch, fixture.at);
    decided.await.unwrap();
    let cancelled = hold(fixture, &[(product, 3)], 60).await.id;
    fixture
        .store
        .cancel(cancelled, fixture.at, None)
        .await
        .unwrap();
    assert_eq!(fixture.stock(product).await, 9);
    for (id, expected) in [
        (sold.id(), OrderStatus::Success),
        (pending.id(), OrderStatus::Pending),
        (failed.id(), OrderStatus::Failed),
        (cancelled, OrderStatus::Cancelled),
    ] {
        let confirmed = confirm(fixture, id).await;
        assert!(
            matches!(&confirmed, Err(Error::OrderState { status }) if *status == expected),
            "{confirmed:?}"
        );
        let extended = fixture.store.extend(id, seconds(60)).await;
        assert!(
            matches!(&extended, Err(Error::OrderState { status }) if *status == expected),
            "{extended:?}"
        );
        assert_eq!(status(fixture, id).await, expected);
    }
    let nobody = OrderId(uuid::Uuid::nil());
    assert_eq!(confirm(fixture, nobody).await.unwrap(), None);
    let extended = fixture.store.extend(nobody, seconds(60)).await;
    assert_eq!(extended.unwrap(), None);
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

/// At their turn, both ways, with every strategy; also when the order holds other products, too.
pub(super) async fn lapsed_stock_goes_to_whoever_needs_it(fixture: &Fixture) {
    let other = fixture.product("other", 100).await.id;
    for strategy in Strategy::ALL {
        let product = fixture.product("p", 5).await.id;
        let lapsed = hold(fixture, &[(product, 3), (other, 2)], 60).await;
        let kept = hold(fixture, &[(product, 2)], 3_600).await;
        let wanted = |pieces| fixture.order(&[(product, pieces)]);
        let refused = fixture.store.purchase(&[wanted(1)], strategy).await;
        assert!(refused.unwrap().results[0].is_err(), "nothing has lapsed");
        fixture.wait(61).await;
        let orders = [wanted(4), wanted(2)];
        let outcome = fixture.store.purchase(&orders, strategy).await.unwrap();
        assert!(
            matches!(
                &outcome.results[0],
                Err(Error::InsufficientStock { available: 3, .. })
            ),
            "{:?}",
            outcome.results
        );
        assert!(outcome.results[1].is_ok());
        assert_eq!(status(fixture, lapsed.id).await, OrderStatus::Expired);
        assert_eq!(status(fixture, kept.id).await, OrderStatus::Held);
        let mut changed: Vec<_> = outcome.changed.iter().map(|p| (p.id, p.stock)).collect();
        changed.sort();
        let mut expected = [(product, 1), (other, 100)];
        expected.sort();
        assert_eq!(changed, expected);
        fixture.wait(3_600).await;
        let accepted = wanted(3);
        let orders = std::slice::from_ref(&accepted);
        fixture.store.accept(orders).await.unwrap();
        let ids = [accepted.id()];
        let pick = Selection::ByIds(&ids);
        let decided = fixture.store.decide(pick, strategy, fixture.at).await;
        assert!(decided.unwrap().results[0].1.is_ok());
        assert_eq!(status(fixture, kept.id).await, OrderStatus::Expired);
        assert_eq!(fixture.stock(product).await, 0);
        counters_are_exact(&fixture.store).await;
        fixture.books_balance().await;
    }
}

pub(super) async fn what_nobody_needs_expires_in_batches(fixture: &Fixture) {
    let (a, b) = (
        fixture.product("a", 100).await.id,
        fixture.product("b", 100).await.id,
    );
    let orders: Vec<NewOrder> = (0..7)
        .map(|_| held_order(fixture, &[(b, 1), (a, 2)], 60))
        .collect();
    let bought = fixture.store.purchase(&orders, Strategy::Batch).await;
    assert!(bought.unwrap().results.iter().all(Result::is_ok));
    fixture
        .store
        .archive_product(b, &[], fixture.at)
        .await
        .unwrap();
    fixture.wait(61).await;
    let (mut after, mut expired) = (None, Vec::new());
    for _ in 0..10 {
        let batch = fixture.store.expire(after, 3, fixture.at).await.unwrap();
        assert!(batch.orders.len() <= 3);
        if !batch.orders.is_empty() {
            let changed: Vec<_> = batch.changed.iter().map(|product| product.id).collect();
            assert_eq!(changed, [a], "what is archived is not told");
        }
        expired.extend(batch.orders);
        after = batch.next;
        if after.is_none() {
            break;
        }
    }
    expired.sort();
    expired.dedup();
    assert!(expired.len() >= 3, "{expired:?}");
    while !expire(fixture).await.is_empty() {}
    for order in &orders {
        assert_eq!(status(fixture, order.id()).await, OrderStatus::Expired);
    }
    assert_eq!(fixture.stock(a).await, 100);
    for (status, count) in [(OrderStatus::Expired, 7), (OrderStatus::Held, 0)] {
        let query = OrderQuery {
            status: Some(status),
            ..OrderQuery::default()
        };
        let found = fixture.store.orders(&query).await.unwrap().items.len();
        assert_eq!(found, count, "{status}");
    }
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

/// What comes back does not fit: the order stays held, and is in nobody's way.
pub(super) async fn what_has_no_room_stays_held(fixture: &Fixture) {
    let (full, product) = (
        fixture.product("full", 5).await.id,
        fixture.product("p", 5).await.id,
    );
    let stays = hold(fixture, &[(full, 5)], 60).await;
    let goes = hold(fixture, &[(product, 5)], 60).await;
    let fill = StockRequest::new(MAX_STOCK, None).unwrap();
    let fill = fill.into_adjustment(fixture.adjustment_id(), full, fixture.at);
    fixture.store.adjust_stock(&fill).await.unwrap();
    fixture.wait(61).await;
    assert_eq!(expire(fixture).await, [goes.id]);
    assert_eq!(status(fixture, stays.id).await, OrderStatus::Held);
    fixture.books_balance().await;
}

/// A replay is answered as it was then, whatever became of the hold.
pub(super) async fn a_repeated_hold_is_the_same(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let keyed = |hold: Option<i64>| {
        let key = crate::domain::IdempotencyKey::new(uuid::Uuid::nil(), "k").unwrap();
        let order = fixture.order(&[(product, 1)]);
        let (id, at) = (order.id(), order.created_at());
        let request = order.into_request().held_for(hold.map(seconds));
        request.with_key(key).into_new_order(id, at)
    };
    let first = buy(fixture, &keyed(Some(60))).await.unwrap();
    fixture.store.extend(first.id, seconds(600)).await.unwrap();
    confirm(fixture, first.id).await.unwrap();
    let again = buy(fixture, &keyed(Some(60))).await.unwrap();
    assert_eq!(again, first);
    for other in [Some(61), None] {
        let reused = buy(fixture, &keyed(other)).await;
        assert!(matches!(reused, Err(Error::IdempotencyKeyReused)));
    }
    assert_eq!(fixture.stock(product).await, 9);
}

/// Confirmed, expired or cancelled: each order comes to one end, whoever is first.
pub(super) async fn a_hold_has_one_end(fixture: &Fixture) {
    let product = fixture.product("p", 1_000).await.id;
    for round in 0..8 {
        let orders: Vec<NewOrder> = (0..12)
            .map(|n| held_order(fixture, &[(product, 2)], if n < 6 { 60 } else { 3_600 }))
            .collect();
        fixture
            .store
            .purchase(&orders, Strategy::Batch)
            .await
            .unwrap();
        if round % 2 == 0 {
            fixture.wait(61).await;
        }
        let at = fixture.at;
        let store = || Arc::clone(&fixture.store);
        let ids: Vec<OrderId> = orders.iter().map(NewOrder::id).collect();
        let mut all = tokio::task::JoinSet::new();
        for id in ids.clone() {
            let (confirming, cancelling, extending) = (store(), store(), store());
            all.spawn(async move {
                let confirmed = confirming.confirm(&[id], at).await.unwrap().remove(0);
                confirmed.is_ok().then_some((id, OrderStatus::Success))
            });
            all.spawn(async move {
                let cancelled = cancelling.cancel(id, at, None).await;
                cancelled.is_ok().then_some((id, OrderStatus::Cancelled))
            });
            all.spawn(async move {
                let _ = extending.extend(id, seconds(60)).await;
                None
            });
            let (giving, returned) = (store(), fixture.a_return(id, &[(product, 1)], None));
            all.spawn(async move {
                let _ = giving.give_back(&returned).await;
                None
            });
        }
        for _ in 0..2 {
            let expiring = store();
            all.spawn(async move {
                expiring.expire(None, 100, at).await.unwrap();
                None
            });
        }
        let told: Vec<_> = all.join_all().await.into_iter().flatten().collect();
        for id in ids {
            let order = fixture.store.order(id).await.unwrap().unwrap();
            let was_confirmed = told.contains(&(id, OrderStatus::Success));
            let was_cancelled = told.contains(&(id, OrderStatus::Cancelled));
            assert_eq!(order.confirmed_at.is_some(), was_confirmed, "{order:?}");
            let expected = match (was_confirmed, was_cancelled) {
                (_, true) => OrderStatus::Cancelled,
                (true, false) => OrderStatus::Success,
                (false, false) => OrderStatus::Expired,
            };
            assert_eq!(order.status, expected, "{order:?}");
        }
        counters_are_exact(&fixture.store).await;
        fixture.books_balance().await;
    }
}
