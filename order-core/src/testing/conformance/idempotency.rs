//! A request that comes again with its key is carried out once.

use std::sync::Arc;

use uuid::Uuid;

use super::{fixture::Fixture, races::at_once};
use crate::{
    domain::{
        IdempotencyKey, NewOrder, Order, OrderStatus, PageRequest, Product, ProductId, Replayable,
        StockRequest,
    },
    error::Error,
    store::{OrderQuery, Selection, Strategy},
};

fn key(scope: u128, key: &str) -> IdempotencyKey {
    IdempotencyKey::new(Uuid::from_u128(scope), key).unwrap()
}

/// An order of `pieces` with a key.
fn keyed(fixture: &Fixture, product: ProductId, pieces: i64, key: &IdempotencyKey) -> NewOrder {
    NewOrder {
        key: Some(key.clone()),
        ..fixture.order(&[(product, pieces)])
    }
}

async fn accept(fixture: &Fixture, orders: &[NewOrder]) -> Vec<Result<Order, Error>> {
    fixture.store.accept(orders).await.unwrap()
}

async fn purchase(fixture: &Fixture, orders: &[NewOrder]) -> Vec<Result<Order, Error>> {
    let outcome = fixture.store.purchase(orders, Strategy::Batch).await;
    outcome.unwrap().results
}

async fn count(fixture: &Fixture) -> usize {
    let query = OrderQuery {
        page: PageRequest::default(),
        ..OrderQuery::default()
    };
    fixture.store.orders(&query).await.unwrap().items.len()
}

fn is_refused<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::IdempotencyKeyReused))
}

pub(super) async fn an_order_with_a_key_is_placed_once(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let (a, b) = (key(1, "a"), key(1, "b"));
    let first = accept(fixture, &[keyed(fixture, product, 2, &a)]).await;
    let first = first[0].as_ref().unwrap();
    fixture
        .store
        .decide(Selection::Oldest(10), Strategy::Batch, fixture.at)
        .await
        .unwrap();
    // In one batch: a replay of the decided order, as it was when it was accepted; the key of
    // another caller; and the same twice.
    let again = [
        keyed(fixture, product, 2, &a),
        keyed(fixture, product, 2, &key(2, "a")),
        keyed(fixture, product, 2, &b),
        keyed(fixture, product, 2, &b),
        fixture.order(&[(product, 2)]),
    ];
    let results = accept(fixture, &again).await;
    assert_eq!(results[0].as_ref().unwrap(), first);
    assert_eq!(results[1].as_ref().unwrap().id, again[1].id());
    assert_eq!(results[2].as_ref().unwrap().id, again[2].id());
    assert_eq!(results[3].as_ref().unwrap(), results[2].as_ref().unwrap());
    assert_eq!(results[4].as_ref().unwrap().id, again[4].id());
    assert_eq!(count(fixture).await, 4);

    let c = key(1, "c");
    let bought = purchase(fixture, &[keyed(fixture, product, 3, &c)]).await;
    let bought = bought[0].as_ref().unwrap();
    assert_eq!(bought.status, OrderStatus::Success);
    fixture
        .store
        .cancel(bought.id, fixture.at, None)
        .await
        .unwrap()
        .unwrap();
    for strategy in Strategy::ALL {
        let again = [keyed(fixture, product, 3, &c)];
        let again = fixture.store.purchase(&again, strategy).await.unwrap();
        assert_eq!(again.results[0].as_ref().unwrap(), bought, "{strategy}");
        assert_eq!(again.changed, []);
    }
    assert_eq!(count(fixture).await, 5);
    fixture.books_balance().await;
}

pub(super) async fn a_key_belongs_to_one_request(fixture: &Fixture) {
    let (product, other) = (
        fixture.product("p", 10).await.id,
        fixture.product("q", 1).await.id,
    );
    let a = key(1, "a");
    let order = keyed(fixture, product, 1, &a);
    let results = accept(
        fixture,
        &[
            order.clone(),
            keyed(fixture, product, 2, &a),
            keyed(fixture, product, 1, &a),
        ],
    )
    .await;
    assert!(is_refused(&results[1]), "{results:?}");
    assert_eq!(results[2].as_ref().unwrap().id, order.id());
    assert!(is_refused(
        &accept(fixture, &[keyed(fixture, other, 1, &a)]).await[0]
    ));
    // Not even the same order, when it is placed the other way.
    assert!(is_refused(
        &purchase(fixture, &[keyed(fixture, product, 1, &a)]).await[0]
    ));
    let cancelled = fixture.store.cancel(order.id(), fixture.at, Some(&a)).await;
    assert!(is_refused(&cancelled), "{cancelled:?}");
    assert!(is_refused(&adjust(fixture, product, 1, &a).await));
    assert_eq!(
        (count(fixture).await, fixture.stock(product).await),
        (1, 10)
    );
    fixture.books_balance().await;
}

pub(super) async fn a_refused_request_keeps_no_key(fixture: &Fixture) {
    let product = fixture.product("p", 1).await.id;
    let a = key(1, "a");
    let results = purchase(
        fixture,
        &[
            keyed(fixture, product, 2, &a),
            keyed(fixture, product, 2, &a),
        ],
    )
    .await;
    for result in &results {
        assert!(
            matches!(result, Err(Error::InsufficientStock { available: 1, .. })),
            "{result:?}"
        );
    }
    adjust(fixture, product, 1, &key(1, "b")).await.unwrap();
    let order = keyed(fixture, product, 2, &a);
    let decided_anew = purchase(fixture, std::slice::from_ref(&order)).await;
    assert_eq!(decided_anew[0].as_ref().unwrap().id, order.id());
    fixture.books_balance().await;
}

async fn adjust(
    fixture: &Fixture,
    product: ProductId,
    delta: i64,
    key: &IdempotencyKey,
) -> Result<Replayable<Product>, Error> {
    let request = StockRequest::new(delta, None)
        .unwrap()
        .with_key(key.clone());
    let adjustment = request.into_adjustment(fixture.adjustment_id(), product, fixture.at);
    let adjusted = fixture.store.adjust_stock(&adjustment).await?;
    Ok(adjusted.unwrap())
}

pub(super) async fn stock_is_adjusted_and_orders_are_cancelled_once(fixture: &Fixture) {
    let product = fixture.product("p", 5).await.id;
    let (a, b) = (key(1, "a"), key(1, "b"));
    for replayed in [false, true, true] {
        let Replayable {
            value,
            replayed: was,
        } = adjust(fixture, product, 10, &a).await.unwrap();
        assert_eq!((value.stock, value.version, was), (15, 2, replayed));
    }
    let orders = fixture.orders(2, &[(product, 1)]);
    accept(fixture, &orders).await;
    for replayed in [false, true] {
        let cancelled = fixture
            .store
            .cancel(orders[0].id(), fixture.at, Some(&b))
            .await;
        let cancelled = cancelled.unwrap().unwrap();
        assert_eq!(cancelled.order.status, OrderStatus::Cancelled);
        assert_eq!(cancelled.replayed, replayed);
    }
    assert!(is_refused(
        &fixture
            .store
            .cancel(orders[1].id(), fixture.at, Some(&b))
            .await
    ));
    fixture.books_balance().await;
}

/// Several keys in every batch, so that batches meet at more than one, over two products, so
/// that the lock of one does not keep them apart.
pub(super) async fn the_same_keys_at_once_place_one_order_each(fixture: &Fixture) {
    const KEYS: usize = 12;
    let products = [
        fixture.product("p", 1_000).await.id,
        fixture.product("q", 1_000).await.id,
    ];
    for strategy in Strategy::ALL {
        for accepted in [false, true] {
            let placed = at_once(|number| {
                let store = Arc::clone(&fixture.store);
                let batch: Vec<NewOrder> = (0..KEYS)
                    // Some go through the keys in the other direction.
                    .map(|at| if number % 2 == 0 { at } else { KEYS - 1 - at })
                    .map(|at| {
                        let key = key(7, &format!("{strategy}-{accepted}-{at}"));
                        keyed(fixture, products[at % 2], 1, &key)
                    })
                    .collect();
                async move {
                    let results = if accepted {
                        store.accept(&batch).await.unwrap()
                    } else {
                        store.purchase(&batch, strategy).await.unwrap().results
                    };
                    let mut ids: Vec<_> = results.into_iter().map(|r| r.unwrap().id).collect();
                    if number % 2 == 1 {
                        ids.reverse();
                    }
                    ids
                }
            })
            .await;
            assert!(placed.iter().all(|ids| ids == &placed[0]), "{strategy}");
        }
    }
    let sold = 3 * i64::try_from(KEYS).unwrap() / 2;
    for product in products {
        assert_eq!(fixture.stock(product).await, 1_000 - sold);
    }
    fixture.books_balance().await;
}

/// One key for orders of different products, whose locks do not keep them apart: one is
/// placed, and all others are refused.
pub(super) async fn one_key_for_different_orders_places_one(fixture: &Fixture) {
    let mut products = Vec::new();
    for _ in 0..super::races::TASKS {
        products.push(fixture.product("p", 10).await.id);
    }
    for strategy in Strategy::ALL {
        let key = key(7, strategy.as_str());
        let results = at_once(|number| {
            let store = Arc::clone(&fixture.store);
            let order = keyed(fixture, products[number], 1, &key);
            async move {
                let outcome = store.purchase(&[order], strategy).await.unwrap();
                outcome.results.into_iter().next().unwrap()
            }
        })
        .await;
        let placed = results.iter().filter(|result| result.is_ok()).count();
        let refused = results.iter().filter(|result| is_refused(result)).count();
        assert_eq!((placed, refused), (1, results.len() - 1), "{strategy}");
    }
    fixture.books_balance().await;
}
