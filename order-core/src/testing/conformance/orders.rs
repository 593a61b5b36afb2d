//! Checks of orders.

use uuid::Uuid;

use super::fixture::Fixture;
use crate::{
    decision::Granted,
    domain::{
        ClientId, FailureCode, MAX_STOCK, OrderId, OrderStatus, PageRequest, PageSize, PageStart,
        ProductChange, ProductId, StockRequest,
    },
    error::Error,
    store::{OrderQuery, Selection, Strategy},
};

pub(super) async fn a_bad_order_does_not_touch_its_neighbours(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let nowhere = ProductId(Uuid::nil());
    let orders = [
        fixture.order(&[(product, 1)]),
        fixture.order(&[(product, 1), (nowhere, 1)]),
        fixture.order(&[(product, 2), (product, 1)]),
    ];
    let accepted = fixture.store.accept(&orders).await.unwrap();
    assert!(accepted[0].is_ok() && accepted[2].is_ok());
    assert!(matches!(&accepted[1], Err(Error::ProductNotFound(id)) if *id == nowhere));
    assert_eq!(fixture.store.order(orders[1].id()).await.unwrap(), None);
    let stored = fixture.store.order(orders[2].id()).await.unwrap().unwrap();
    assert_eq!(Some(&stored), accepted[2].as_ref().ok());
    assert_eq!(stored.status, OrderStatus::Pending);
    assert_eq!(stored.total_price.to_string(), "7.50");
    assert_eq!(stored.reference.as_deref(), Some("reference"));
    assert_eq!(fixture.stock(product).await, 10);
}

pub(super) async fn the_same_id_is_stored_once(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let first = fixture.order(&[(product, 1)]);
    fixture
        .store
        .accept(std::slice::from_ref(&first))
        .await
        .unwrap();
    let both = [first.clone(), fixture.order(&[(product, 1)])];
    let accepted = fixture.store.accept(&both).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
    let sold = fixture.order(&[(product, 2)]);
    for _ in 0..2 {
        let results = fixture
            .store
            .purchase(std::slice::from_ref(&sold), Strategy::Batch)
            .await
            .unwrap();
        assert_eq!(
            results.results[0].as_ref().unwrap().status,
            OrderStatus::Success
        );
    }
    assert_eq!(fixture.stock(product).await, 8);
    fixture.books_balance().await;
}

pub(super) async fn decisions_come_first_come_first_served(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let product = fixture.product("p", 5).await.id;
        let orders: Vec<_> = [2, 2, 3, 1, 1]
            .iter()
            .map(|count| fixture.order(&[(product, *count)]))
            .collect();
        fixture.store.accept(&orders).await.unwrap();
        let decided = fixture
            .store
            .decide(Selection::Oldest(100), strategy, fixture.at);
        let decided = decided.await.unwrap().results;
        let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
        assert_eq!(decided.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        let sold: Vec<bool> = decided.iter().map(|(_, d)| d.is_ok()).collect();
        assert_eq!(sold, [true, true, false, true, false], "{strategy}");
        let failed = fixture.store.order(ids[2]).await.unwrap().unwrap();
        let failure = failed.failure.unwrap();
        assert_eq!(failed.status, OrderStatus::Failed);
        assert_eq!(failure.code, FailureCode::InsufficientStock);
        assert_eq!((failure.requested, failure.available), (3, 1));
        assert_eq!(failed.decided_at, Some(fixture.at));
        assert_eq!(fixture.stock(product).await, 0);
        let again = fixture
            .store
            .decide(Selection::ByIds(&ids), strategy, fixture.at);
        assert_eq!(again.await.unwrap().results, []);
    }
    fixture.books_balance().await;
}

pub(super) async fn lines_of_one_product_are_summed(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let product = fixture.product("p", 5).await.id;
        let order = fixture.order(&[(product, 3), (product, 3)]);
        let refused = fixture
            .store
            .purchase(std::slice::from_ref(&order), strategy);
        let refused = refused.await.unwrap().results.remove(0);
        assert!(
            matches!(
                refused,
                Err(Error::InsufficientStock {
                    requested: 6,
                    available: 5,
                    ..
                })
            ),
            "{strategy}: {refused:?}"
        );
        fixture
            .store
            .accept(std::slice::from_ref(&order))
            .await
            .unwrap();
        let decided = fixture
            .store
            .decide(Selection::Oldest(1), strategy, fixture.at);
        let failure = decided.await.unwrap().results[0].1.unwrap_err();
        assert_eq!((failure.requested, failure.available), (6, 5), "{strategy}");
        assert_eq!(fixture.stock(product).await, 5);
    }
    fixture.books_balance().await;
}

pub(super) async fn archived_products_fail_their_orders(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let product = fixture.product("p", 5).await.id;
        let order = fixture.order(&[(product, 1)]);
        fixture
            .store
            .accept(std::slice::from_ref(&order))
            .await
            .unwrap();
        fixture
            .store
            .archive_product(product, &[], fixture.at)
            .await
            .unwrap();
        let decided = fixture
            .store
            .decide(Selection::Oldest(1), strategy, fixture.at);
        let failure = decided.await.unwrap().results[0].1.unwrap_err();
        assert_eq!(failure.code, FailureCode::ProductUnavailable, "{strategy}");
        let late = fixture.order(&[(product, 1)]);
        let refused = fixture
            .store
            .purchase(std::slice::from_ref(&late), strategy);
        let refused = refused.await.unwrap().results.remove(0);
        assert!(matches!(refused, Err(Error::ProductNotFound(id)) if id == product));
    }
    fixture.books_balance().await;
}

pub(super) async fn a_refused_purchase_leaves_no_trace(fixture: &Fixture) {
    for strategy in Strategy::ALL {
        let (a, b) = (
            fixture.product("a", 5).await.id,
            fixture.product("b", 1).await.id,
        );
        let orders = [
            fixture.order(&[(a, 1), (b, 2)]),
            fixture.order(&[(b, 1), (a, 5)]),
            fixture.order(&[(a, 1)]),
        ];
        let results = fixture
            .store
            .purchase(&orders, strategy)
            .await
            .unwrap()
            .results;
        assert!(
            matches!(results[0], Err(Error::InsufficientStock { product_id, .. }) if product_id == b),
            "{strategy}"
        );
        let sold = results[1].as_ref().unwrap();
        assert_eq!(
            (sold.status, sold.decided_at),
            (OrderStatus::Success, Some(fixture.at))
        );
        assert!(matches!(
            results[2],
            Err(Error::InsufficientStock { available: 0, .. })
        ));
        assert_eq!(
            fixture.store.order(sold.id).await.unwrap().as_ref(),
            Some(sold)
        );
        for refused in [&orders[0], &orders[2]] {
            assert_eq!(fixture.store.order(refused.id()).await.unwrap(), None);
        }
        assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (0, 0));
        assert_eq!(fixture.store.product(a).await.unwrap().unwrap().version, 2);
    }
    fixture.books_balance().await;
}

pub(super) async fn cancelling_gives_the_stock_back_once(fixture: &Fixture) {
    let (a, b) = (
        fixture.product("a", 5).await.id,
        fixture.product("b", 5).await.id,
    );
    let sold = fixture.order(&[(a, 2), (b, 1), (a, 1)]);
    let one = std::slice::from_ref(&sold);
    fixture.store.purchase(one, Strategy::Batch).await.unwrap();
    for _ in 0..2 {
        let cancelled = fixture
            .store
            .cancel(sold.id(), fixture.at, None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(cancelled.order.status, OrderStatus::Cancelled);
        assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (5, 5));
    }
    let orders = [fixture.order(&[(a, 1)]), fixture.order(&[(a, 9)])];
    fixture.store.accept(&orders).await.unwrap();
    fixture
        .store
        .cancel(orders[0].id(), fixture.at, None)
        .await
        .unwrap();
    let decided = fixture
        .store
        .decide(Selection::Oldest(9), Strategy::Batch, fixture.at);
    assert_eq!(decided.await.unwrap().results.len(), 1);
    let failed = fixture.store.cancel(orders[1].id(), fixture.at, None).await;
    assert!(
        matches!(
            failed,
            Err(Error::OrderState {
                status: OrderStatus::Failed
            })
        ),
        "{failed:?}"
    );
    assert_eq!(
        fixture
            .store
            .cancel(OrderId(Uuid::nil()), fixture.at, None)
            .await
            .unwrap(),
        None
    );
    too_much_cannot_come_back(fixture, a).await;
    fixture.books_balance().await;
}

async fn too_much_cannot_come_back(fixture: &Fixture, product: ProductId) {
    let order = fixture.order(&[(product, 5)]);
    let one = std::slice::from_ref(&order);
    fixture.store.purchase(one, Strategy::Batch).await.unwrap();
    let request = StockRequest::new(MAX_STOCK, None).unwrap();
    let adjustment = request.into_adjustment(fixture.adjustment_id(), product, fixture.at);
    fixture.store.adjust_stock(&adjustment).await.unwrap();
    let refused = fixture.store.cancel(order.id(), fixture.at, None).await;
    assert!(
        matches!(refused, Err(Error::StockLimit { .. })),
        "{refused:?}"
    );
    let still = fixture.store.order(order.id()).await.unwrap().unwrap();
    assert_eq!(still.status, OrderStatus::Success);
}

pub(super) async fn the_price_is_that_of_the_acceptance(fixture: &Fixture) {
    let product = fixture.product("p", 5).await.id;
    let order = fixture.order(&[(product, 2)]);
    fixture
        .store
        .accept(std::slice::from_ref(&order))
        .await
        .unwrap();
    let change = ProductChange::default()
        .price("9.99".parse().unwrap())
        .unwrap();
    let changed = fixture
        .store
        .update_product(product, &change, fixture.adjustment_id(), fixture.at)
        .await;
    assert_eq!(changed.unwrap().unwrap().price.to_string(), "9.99");
    let decided = fixture
        .store
        .decide(Selection::Oldest(1), Strategy::Batch, fixture.at);
    assert_eq!(
        decided.await.unwrap().results,
        [(order.id(), Ok(Granted::Sold))]
    );
    let sold = fixture.store.order(order.id()).await.unwrap().unwrap();
    assert_eq!(sold.lines[0].unit_price.to_string(), "2.50");
    assert_eq!(sold.total_price.to_string(), "5.00");
}

pub(super) async fn lists_filter_and_continue(fixture: &Fixture) {
    let (a, b) = (
        fixture.product("a", 3).await.id,
        fixture.product("b", 3).await.id,
    );
    let mut orders = fixture.orders(5, &[(a, 1), (a, 1)]);
    orders.extend(fixture.orders(2, &[(b, 1)]));
    fixture.store.accept(&orders).await.unwrap();
    fixture
        .store
        .cancel(orders[6].id(), fixture.at, None)
        .await
        .unwrap();
    let decided = fixture
        .store
        .decide(Selection::Oldest(9), Strategy::Batch, fixture.at);
    assert_eq!(decided.await.unwrap().results.len(), 6);
    let list = async |query: OrderQuery| -> Vec<OrderId> {
        let mut ids = Vec::new();
        let mut start = PageStart::First;
        loop {
            let size = PageSize::new(2).unwrap();
            let page = PageRequest { size, start };
            let query = OrderQuery {
                page,
                ..query.clone()
            };
            let page = fixture.store.orders(&query).await.unwrap();
            ids.extend(page.items.iter().map(|order| order.id));
            match page.next {
                Some(id) => start = PageStart::After(id),
                None => return ids,
            }
        }
    };
    let newest_first = |numbers: &[usize]| -> Vec<OrderId> {
        numbers.iter().rev().map(|n| orders[*n].id()).collect()
    };
    let with_status = |status| OrderQuery {
        status: Some(status),
        ..OrderQuery::default()
    };
    let all = list(OrderQuery::default()).await;
    assert_eq!(all, newest_first(&[0, 1, 2, 3, 4, 5, 6]));
    let failed = list(with_status(OrderStatus::Failed)).await;
    assert_eq!(failed, newest_first(&[1, 2, 3, 4]));
    let sold = list(with_status(OrderStatus::Success)).await;
    assert_eq!(sold, newest_first(&[0, 5]));
    assert_eq!(
        list(with_status(OrderStatus::Cancelled)).await,
        newest_first(&[6])
    );
    assert_eq!(list(with_status(OrderStatus::Pending)).await, []);
    let of_b = OrderQuery {
        product_id: Some(b),
        ..OrderQuery::default()
    };
    assert_eq!(list(of_b).await, newest_first(&[5, 6]));
    let by_reference = |reference: &str| OrderQuery {
        reference: Some(reference.to_owned()),
        ..OrderQuery::default()
    };
    assert_eq!(list(by_reference("reference")).await, all);
    assert_eq!(list(by_reference("other")).await, []);
}

pub(super) async fn an_order_is_of_the_client_that_placed_it(fixture: &Fixture) {
    let product = fixture.product("p", 100).await.id;
    let clients = [
        Some(ClientId(fixture.ids.next(fixture.at))),
        Some(ClientId(fixture.ids.next(fixture.at))),
        None,
    ];
    let mut orders = fixture.orders(9, &[(product, 1)]);
    for (order, client) in orders.iter_mut().zip(clients.iter().cycle()) {
        order.client = *client;
    }
    let (accepted, bought) = orders.split_at(4);
    let (together, alone) = bought.split_at(3);
    let mut stored = fixture.store.accept(accepted).await.unwrap();
    for (orders, strategy) in [
        (together, Strategy::Batch),
        (&alone[..1], Strategy::RowLock),
        (&alone[1..], Strategy::ConditionalUpdate),
    ] {
        let bought = fixture.store.purchase(orders, strategy).await.unwrap();
        stored.extend(bought.results);
    }
    for (order, stored) in orders.iter().zip(stored) {
        let stored = stored.unwrap();
        assert_eq!((stored.id, stored.client), (order.id, order.client));
        let read = fixture.store.order(order.id).await.unwrap().unwrap();
        assert_eq!(read, stored);
    }
    for (at, client) in clients.iter().enumerate().take(2) {
        for product_id in [None, Some(product)] {
            let query = OrderQuery {
                client: *client,
                product_id,
                page: PageRequest::numbered(1, PageSize::default()).unwrap(),
                ..OrderQuery::default()
            };
            let page = fixture.store.orders(&query).await.unwrap();
            let ids: Vec<OrderId> = page.items.iter().map(|order| order.id).collect();
            let own = [at + 6, at + 3, at].map(|n| orders[n].id);
            assert_eq!(ids, own);
            assert_eq!(page.total, Some(3));
        }
    }
}
