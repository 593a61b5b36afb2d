//! Checks of held orders that give back a part: what is left is what expires, is confirmed, and counts
//! for the limit per customer.

use super::{
    fixture::Fixture,
    holds::{buy, confirm, expire, hold},
    returns::history,
    stats::counters_are_exact,
    terms::{limit_of, order, product},
};
use crate::{
    domain::{
        Order, OrderId, OrderStatus, ProductId, SaleTerms,
        StockEntryKind::{self, Adjustment, Hold, Return, Sale},
    },
    error::Error,
    process::{AttemptOutcome, TaskKind},
};

/// What changed the stock of a product, the largest first; together, that is its stock.
async fn changes(fixture: &Fixture, product: ProductId) -> Vec<(StockEntryKind, i64)> {
    let all = history(fixture, product, 100).await;
    let sum: i64 = all.iter().map(|entry| entry.delta).sum();
    assert_eq!(sum, fixture.stock(product).await);
    let all = all.iter().map(|entry| (entry.kind, entry.delta));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, delta)| -delta);
    all
}

async fn read(fixture: &Fixture, id: OrderId) -> Order {
    fixture.store.order(id).await.unwrap().unwrap()
}

pub(super) async fn what_is_left_of_a_hold_expires(fixture: &Fixture) {
    let a = fixture.product("a", 10).await.id;
    let b = fixture.product("b", 10).await.id;
    let held = hold(fixture, &[(a, 5), (b, 1)], 60).await;
    let part = fixture.give_back(held.id, &[(a, 2)]).await.unwrap();
    assert_eq!(part.status, OrderStatus::Held);
    assert_eq!(part.held_until, held.held_until);
    assert_eq!(part.total_price.to_string(), "10.00");
    let part = fixture.give_back(held.id, &[(b, 1)]).await.unwrap();
    assert_eq!(read(fixture, held.id).await, part);
    assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (7, 10));
    let of_a = [(Adjustment, 10), (Return, 2), (Hold, -5)];
    assert_eq!(changes(fixture, a).await, of_a);
    fixture.books_balance().await;

    fixture.wait(61).await;
    assert_eq!(expire(fixture).await, [held.id]);
    assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (10, 10));
    let expired = read(fixture, held.id).await;
    assert_eq!(expired.status, OrderStatus::Expired);
    assert_eq!(expired.total_price.to_string(), "7.50");
    let cancelled = expired.lines.iter().map(|line| line.cancelled_quantity);
    assert_eq!(cancelled.collect::<Vec<_>>(), [2, 1]);
    let of_a = [(Adjustment, 10), (Return, 3), (Return, 2), (Hold, -5)];
    assert_eq!(changes(fixture, a).await, of_a);
    let of_b = [(Adjustment, 10), (Return, 1), (Hold, -1)];
    assert_eq!(changes(fixture, b).await, of_b);
    for refused in [
        fixture.give_back(held.id, &[(a, 1)]).await.map(drop),
        fixture
            .store
            .cancel(held.id, fixture.at, None)
            .await
            .map(drop),
    ] {
        let status = OrderStatus::Expired;
        assert!(matches!(refused, Err(Error::OrderState { status: s }) if s == status));
    }
    assert_eq!(fixture.claim(9).await.len(), 0);
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

pub(super) async fn what_is_left_of_a_lapsed_hold_goes_to_whoever_needs_it(fixture: &Fixture) {
    let a = fixture.product("a", 10).await.id;
    let b = fixture.product("b", 10).await.id;
    let held = hold(fixture, &[(a, 5), (b, 1)], 60).await.id;
    fixture.give_back(held, &[(a, 2), (b, 1)]).await.unwrap();
    fixture.wait(61).await;
    // Nothing of it is there for whoever needs the product that came back.
    let refused = buy(fixture, &fixture.order(&[(b, 11)])).await;
    assert!(matches!(
        refused,
        Err(Error::InsufficientStock { available: 10, .. })
    ));
    assert_eq!(read(fixture, held).await.status, OrderStatus::Held);
    let refused = buy(fixture, &fixture.order(&[(a, 11)])).await;
    assert!(matches!(
        refused,
        Err(Error::InsufficientStock { available: 10, .. })
    ));
    assert_eq!(read(fixture, held).await.status, OrderStatus::Expired);
    buy(fixture, &fixture.order(&[(a, 10)])).await.unwrap();
    assert_eq!(fixture.stock(a).await, 0);
    let of_a = [
        (Adjustment, 10),
        (Return, 3),
        (Return, 2),
        (Hold, -5),
        (Sale, -10),
    ];
    assert_eq!(changes(fixture, a).await, of_a);
    fixture.books_balance().await;
}

pub(super) async fn what_is_left_of_a_hold_is_confirmed(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let id = hold(fixture, &[(product, 5)], 60).await.id;
    fixture.give_back(id, &[(product, 2)]).await.unwrap();
    assert_eq!(fixture.claim(9).await.len(), 0);
    let sold = confirm(fixture, id).await.unwrap().unwrap();
    assert_eq!(sold.status, OrderStatus::Success);
    assert_eq!(sold.total_price.to_string(), "7.50");
    assert_eq!(sold.lines[0].kept(), 3);
    fixture.wait(61).await;
    assert_eq!(expire(fixture).await, []);
    assert_eq!(fixture.stock(product).await, 7);

    let task = fixture.claim(9).await.remove(0);
    assert_eq!((task.lease.order_id, task.kind), (id, TaskKind::Process));
    let told = task.order.as_ref().unwrap();
    assert_eq!(
        (&told.lines, told.total_price),
        (&sold.lines, sold.total_price)
    );
    assert_eq!(fixture.end(&task, AttemptOutcome::Done).await, 1);
    // Nobody did anything for what came back before.
    assert_eq!(fixture.task(id).await, None);
    fixture.give_back(id, &[(product, 1)]).await.unwrap();
    let undo = fixture.claim(9).await.remove(0);
    assert_eq!((undo.lease.order_id, undo.kind), (id, TaskKind::Compensate));
    fixture.end(&undo, AttemptOutcome::Done).await;
    assert_eq!(fixture.stock(product).await, 8);
    let all = [(Adjustment, 10), (Return, 2), (Return, 1), (Sale, -5)];
    assert_eq!(changes(fixture, product).await, all);
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

pub(super) async fn a_hold_of_which_nothing_is_left_is_cancelled(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let other = fixture.product("q", 10).await.id;
    let id = hold(fixture, &[(product, 2), (other, 1)], 60).await.id;
    fixture.give_back(id, &[(product, 2)]).await.unwrap();
    let gone = fixture.give_back(id, &[(other, 1)]).await.unwrap();
    assert_eq!(
        (gone.status, gone.cancelled_at),
        (OrderStatus::Cancelled, Some(fixture.at))
    );
    assert_eq!(read(fixture, id).await, gone);
    let refused = confirm(fixture, id).await;
    assert!(matches!(refused, Err(Error::OrderState { .. })));
    fixture.wait(61).await;
    assert_eq!(expire(fixture).await, []);
    assert_eq!(fixture.claim(9).await.len(), 0);
    for product in [product, other] {
        assert_eq!(fixture.stock(product).await, 10);
        assert_eq!(changes(fixture, product).await.len(), 3);
    }
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

/// Of a hold, of an order that is sold, and of one whose task is done.
pub(super) async fn what_came_back_may_be_had_again(fixture: &Fixture) {
    let terms = SaleTerms {
        limit_per_customer: Some(3),
        ..SaleTerms::default()
    };
    let limited = product(fixture, terms).await;
    let other = fixture.product("other", 10).await.id;
    let of = |pieces, held| order(fixture, &[(limited, pieces), (other, 1)], "a", held);
    let has = async |has, held_order| {
        let refused = buy(fixture, &of(3 - has + 1, false)).await;
        assert_eq!(limit_of(refused), (3, has, held_order));
    };
    let held = buy(fixture, &of(3, true)).await.unwrap().id;
    has(3, Some(held)).await;
    fixture.give_back(held, &[(limited, 1)]).await.unwrap();
    has(2, Some(held)).await;
    fixture.give_back(held, &[(limited, 2)]).await.unwrap();
    // It is held because of what else is in it, and in nobody's way.
    assert_eq!(read(fixture, held).await.status, OrderStatus::Held);
    has(0, None).await;
    fixture.store.cancel(held, fixture.at, None).await.unwrap();

    let sold = buy(fixture, &of(2, false)).await.unwrap().id;
    fixture.give_back(sold, &[(limited, 1)]).await.unwrap();
    has(1, None).await;
    let task = fixture.claim(9).await.remove(0);
    fixture.end(&task, AttemptOutcome::Done).await;
    fixture.give_back(sold, &[(limited, 1)]).await.unwrap();
    has(0, None).await;
    let all = buy(fixture, &of(3, false)).await.unwrap();
    assert_eq!(all.status, OrderStatus::Success);
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}
