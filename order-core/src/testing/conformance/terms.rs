//! Checks of the terms on which products are sold: windows, and limits per customer.

use chrono::{DateTime, TimeDelta, Utc};

use super::{fixture::Fixture, stats::counters_are_exact};
use crate::{
    domain::{
        Failure, FailureCode, FailureDetail, HoldTime, NewOrder, Order, OrderId, OrderStatus,
        ProductChange, ProductId, ProductRequest, SaleTerms,
    },
    error::Error,
    store::{OrderQuery, Selection, Strategy},
};

pub(super) async fn product(fixture: &Fixture, terms: SaleTerms) -> ProductId {
    let request = ProductRequest::new("p", "2.50".parse().unwrap(), 100, None).unwrap();
    let request = request.on_terms(terms).unwrap();
    let product = fixture.create(request).await.unwrap();
    assert_eq!(product.terms, terms);
    let stored = fixture.store.product(product.id).await.unwrap().unwrap();
    assert_eq!(stored, product);
    product.id
}

async fn change(
    fixture: &Fixture,
    id: ProductId,
    change: ProductChange,
) -> Result<SaleTerms, Error> {
    let adjustment = fixture.adjustment_id();
    let changed = fixture
        .store
        .update_product(id, &change, adjustment, fixture.at);
    Ok(changed.await?.unwrap().terms)
}

async fn buy(fixture: &Fixture, order: NewOrder, strategy: Strategy) -> Result<Order, Error> {
    let outcome = fixture.store.purchase(&[order], strategy).await;
    outcome.unwrap().results.remove(0)
}

/// The failure of an order that is accepted and decided.
async fn decide(fixture: &Fixture, order: NewOrder, strategy: Strategy) -> Option<Failure> {
    let ids = [order.id()];
    for result in fixture.store.accept(&[order]).await.unwrap() {
        result.unwrap();
    }
    let pick = Selection::ByIds(&ids);
    let decided = fixture
        .store
        .decide(pick, strategy, fixture.at)
        .await
        .unwrap();
    let stored = fixture.store.order(ids[0]).await.unwrap().unwrap();
    assert_eq!(decided.results[0].1.err(), stored.failure);
    stored.failure
}

/// What is answered is what is kept, also where a client says more than that.
pub(super) async fn a_window_is_kept_in_whole_microseconds(fixture: &Fixture) {
    let at = |nanos| DateTime::from_timestamp(1_900_000_000, nanos);
    let terms = SaleTerms {
        on_sale_from: at(1_999),
        on_sale_until: at(999_999_999),
        ..SaleTerms::default()
    };
    let request = ProductRequest::new("p", "2.50".parse().unwrap(), 1, None).unwrap();
    let created = fixture
        .create(request.on_terms(terms).unwrap())
        .await
        .unwrap();
    let stored = async || fixture.store.product(created.id).await.unwrap().unwrap();
    assert_eq!(created.terms.on_sale_from, at(1_000));
    assert_eq!(created.terms.on_sale_until, at(999_999_000));
    assert_eq!(stored().await, created);
    let later = ProductChange::default().on_sale_from(at(2_999));
    let later = later.on_sale_until(at(5_001));
    let changed = change(fixture, created.id, later).await.unwrap();
    assert_eq!(
        (changed.on_sale_from, changed.on_sale_until),
        (at(2_000), at(5_000))
    );
    assert_eq!(stored().await.terms, changed);
}

fn micros(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(at.timestamp_micros())
}

/// Both ways to buy, with every strategy, by the clock of the store.
pub(super) async fn a_product_is_sold_within_its_window(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let now = fixture.time.now();
        let terms = SaleTerms {
            on_sale_from: micros(now + TimeDelta::hours(1)),
            on_sale_until: micros(now + TimeDelta::hours(2)),
            ..SaleTerms::default()
        };
        let id = product(fixture, terms).await;
        let one = || fixture.order(&[(id, 1)]);
        let refused = buy(fixture, one(), strategy).await;
        assert!(
            matches!(
                refused,
                Err(Error::NotOnSale { on_sale_from, on_sale_until, .. })
                    if (on_sale_from, on_sale_until) == (terms.on_sale_from, terms.on_sale_until)
            ),
            "{refused:?}"
        );
        let failure = decide(fixture, one(), strategy).await.unwrap();
        let detail = FailureDetail::Window {
            on_sale_from: terms.on_sale_from,
            on_sale_until: terms.on_sale_until,
        };
        assert_eq!(
            (failure.code, failure.available, failure.detail),
            (FailureCode::NotOnSale, 100, Some(detail))
        );
        fixture.wait(3_601).await;
        assert!(buy(fixture, one(), strategy).await.is_ok());
        assert_eq!(decide(fixture, one(), strategy).await, None);
        fixture.wait(3_600).await;
        let refused = buy(fixture, one(), strategy).await;
        assert!(
            matches!(refused, Err(Error::NotOnSale { .. })),
            "{refused:?}"
        );
        let failure = decide(fixture, one(), strategy).await.unwrap();
        assert_eq!(failure.code, FailureCode::NotOnSale);
        assert_eq!(fixture.stock(id).await, 98);
        let open = ProductChange::default().on_sale_until(None);
        let terms = change(fixture, id, open).await.unwrap();
        assert!(terms.on_sale_until.is_none() && terms.on_sale_from.is_some());
        assert!(buy(fixture, one(), strategy).await.is_ok());
        let wrong = ProductChange::default().on_sale_until(terms.on_sale_from);
        let refused = change(fixture, id, wrong).await;
        assert!(
            matches!(&refused, Err(Error::Invalid { field, .. }) if field == "on_sale_until"),
            "{refused:?}"
        );
    }
    fixture.books_balance().await;
}

pub(super) fn order(
    fixture: &Fixture,
    lines: &[(ProductId, i64)],
    customer: &str,
    hold: bool,
) -> NewOrder {
    let order = fixture.order(lines);
    let (order_id, at) = (order.id(), order.created_at());
    let request = order.into_request().for_customer(Some(customer.to_owned()));
    let hold_time = hold.then(|| HoldTime::new(60).unwrap());
    request
        .unwrap()
        .held_for(hold_time)
        .into_new_order(order_id, at)
}

pub(super) fn limit_of(refused: Result<Order, Error>) -> (i64, i64, Option<OrderId>) {
    match refused {
        Err(Error::CustomerLimit {
            limit,
            has,
            held_order,
            ..
        }) => (limit, has, held_order),
        other => panic!("{other:?} is no refusal for a limit"),
    }
}

pub(super) async fn a_customer_has_no_more_than_the_limit(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let terms = SaleTerms {
            limit_per_customer: Some(3),
            ..SaleTerms::default()
        };
        let id = product(fixture, terms).await;
        let of = |customer, pieces| order(fixture, &[(id, pieces)], customer, false);
        let nobody = fixture.order(&[(id, 1)]);
        let accepted = fixture.store.accept(std::slice::from_ref(&nobody)).await;
        for refused in [
            accepted.unwrap().remove(0),
            buy(fixture, nobody, strategy).await,
        ] {
            assert!(
                matches!(&refused, Err(Error::Invalid { field, .. }) if field == "customer"),
                "{refused:?}"
            );
        }
        let batch = [of("a", 2), of("a", 2), of("b", 3), of("a", 1), of("a", 1)];
        let outcome = fixture.store.purchase(&batch, strategy).await.unwrap();
        let sold: Vec<bool> = outcome.results.iter().map(Result::is_ok).collect();
        assert_eq!(sold, [true, false, true, true, false]);
        assert_eq!(
            limit_of(buy(fixture, of("a", 1), strategy).await),
            (3, 3, None)
        );
        let failure = decide(fixture, of("a", 1), strategy).await.unwrap();
        let detail = FailureDetail::Limit {
            limit: 3,
            has: 3,
            held_order: None,
        };
        let told = (failure.code, failure.detail);
        assert_eq!(told, (FailureCode::CustomerLimit, Some(detail)));
        what_comes_back_may_be_had_again(fixture, (id, batch[0].id()), strategy).await;
    }
    let of_b = OrderQuery {
        customer: Some("b".to_owned()),
        ..OrderQuery::default()
    };
    let found = fixture.store.orders(&of_b).await.unwrap().items;
    assert_eq!(found.len(), Strategy::ALL.len());
    assert!(
        found
            .iter()
            .all(|order| order.customer.as_deref() == Some("b"))
    );
    counters_are_exact(&fixture.store).await;
    fixture.books_balance().await;
}

/// Of a customer who has all that one may have of `id`, some of it in the order `first`.
async fn what_comes_back_may_be_had_again(
    fixture: &Fixture,
    (id, first): (ProductId, OrderId),
    strategy: Strategy,
) {
    let of = |customer, pieces| order(fixture, &[(id, pieces)], customer, false);
    // What is cancelled is had no longer.
    fixture.store.cancel(first, fixture.at, None).await.unwrap();
    let held = order(fixture, &[(id, 2)], "a", true);
    let held_id = held.id();
    assert_eq!(
        buy(fixture, held, strategy).await.unwrap().status,
        OrderStatus::Held
    );
    let refused = buy(fixture, of("a", 1), strategy).await;
    assert_eq!(limit_of(refused), (3, 3, Some(held_id)));
    // Nor is what lapsed, whether somebody has expired it or not.
    fixture.wait(61).await;
    assert_eq!(decide(fixture, of("a", 1), strategy).await, None);
    fixture.store.expire(None, 10, fixture.at).await.unwrap();
    assert!(buy(fixture, of("a", 1), strategy).await.is_ok());
    assert_eq!(
        limit_of(buy(fixture, of("a", 1), strategy).await),
        (3, 3, None)
    );
    let more = ProductChange::default()
        .limit_per_customer(Some(4))
        .unwrap();
    assert_eq!(
        change(fixture, id, more).await.unwrap().limit_per_customer,
        Some(4)
    );
    assert!(buy(fixture, of("a", 1), strategy).await.is_ok());
    let none = ProductChange::default().limit_per_customer(None).unwrap();
    change(fixture, id, none).await.unwrap();
    assert!(buy(fixture, of("a", 90), strategy).await.is_ok());
    assert_eq!(fixture.stock(id).await, 3);
}
