//! What an order store must do.

use uuid::Uuid;

use super::Bench;
use crate::{
    domain::{
        FailureCode, MAX_STOCK, OrderId, OrderStatus, PageRequest, PageSize, PageStart,
        ProductChange, ProductId, StockRequest,
    },
    error::Error,
    store::{OrderQuery, Selection, Strategy},
};

pub(super) async fn a_bad_order_does_not_touch_its_neighbours(bench: &Bench) {
    let product = bench.product("p", 10).await.id;
    let nowhere = ProductId(Uuid::nil());
    let orders = [
        bench.order(&[(product, 1)]),
        bench.order(&[(product, 1), (nowhere, 1)]),
        bench.order(&[(product, 2), (product, 1)]),
    ];
    let accepted = bench.store.accept(&orders).await.unwrap();
    assert!(accepted[0].is_ok() && accepted[2].is_ok());
    assert!(matches!(&accepted[1], Err(Error::ProductNotFound(id)) if *id == nowhere));
    assert_eq!(bench.store.order(orders[1].id()).await.unwrap(), None);
    let stored = bench.store.order(orders[2].id()).await.unwrap().unwrap();
    assert_eq!(Some(&stored), accepted[2].as_ref().ok());
    assert_eq!(stored.status, OrderStatus::Pending);
    assert_eq!(stored.total_price.to_string(), "7.50");
    assert_eq!(stored.reference.as_deref(), Some("reference"));
    assert_eq!(bench.stock(product).await, 10);
}

pub(super) async fn the_same_id_is_stored_once(bench: &Bench) {
    let product = bench.product("p", 10).await.id;
    let first = bench.order(&[(product, 1)]);
    bench
        .store
        .accept(std::slice::from_ref(&first))
        .await
        .unwrap();
    let both = [first.clone(), bench.order(&[(product, 1)])];
    let accepted = bench.store.accept(&both).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
    let sold = bench.order(&[(product, 2)]);
    for _ in 0..2 {
        let results = bench
            .store
            .purchase(std::slice::from_ref(&sold), Strategy::Batch)
            .await
            .unwrap();
        assert_eq!(
            results.results[0].as_ref().unwrap().status,
            OrderStatus::Success
        );
    }
    assert_eq!(bench.stock(product).await, 8);
    bench.books_balance().await;
}

pub(super) async fn decisions_come_first_come_first_served(bench: &Bench) {
    for strategy in Strategy::ALL {
        let product = bench.product("p", 5).await.id;
        let orders: Vec<_> = [2, 2, 3, 1, 1]
            .iter()
            .map(|count| bench.order(&[(product, *count)]))
            .collect();
        bench.store.accept(&orders).await.unwrap();
        let decided = bench
            .store
            .decide(Selection::Oldest(100), strategy, bench.at);
        let decided = decided.await.unwrap().results;
        let ids: Vec<OrderId> = orders.iter().map(crate::domain::NewOrder::id).collect();
        assert_eq!(decided.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        let sold: Vec<bool> = decided.iter().map(|(_, d)| d.is_ok()).collect();
        assert_eq!(sold, [true, true, false, true, false], "{strategy}");
        let failed = bench.store.order(ids[2]).await.unwrap().unwrap();
        let failure = failed.failure.unwrap();
        assert_eq!(failed.status, OrderStatus::Failed);
        assert_eq!(failure.code, FailureCode::InsufficientStock);
        assert_eq!((failure.requested, failure.available), (3, 1));
        assert_eq!(failed.decided_at, Some(bench.at));
        assert_eq!(bench.stock(product).await, 0);
        let again = bench
            .store
            .decide(Selection::ByIds(&ids), strategy, bench.at);
        assert_eq!(again.await.unwrap().results, []);
    }
    bench.books_balance().await;
}

pub(super) async fn lines_of_one_product_are_summed(bench: &Bench) {
    for strategy in Strategy::ALL {
        let product = bench.product("p", 5).await.id;
        let order = bench.order(&[(product, 3), (product, 3)]);
        let refused = bench.store.purchase(std::slice::from_ref(&order), strategy);
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
        bench
            .store
            .accept(std::slice::from_ref(&order))
            .await
            .unwrap();
        let decided = bench.store.decide(Selection::Oldest(1), strategy, bench.at);
        let failure = decided.await.unwrap().results[0].1.unwrap_err();
        assert_eq!((failure.requested, failure.available), (6, 5), "{strategy}");
        assert_eq!(bench.stock(product).await, 5);
    }
    bench.books_balance().await;
}

pub(super) async fn archived_products_fail_their_orders(bench: &Bench) {
    for strategy in Strategy::ALL {
        let product = bench.product("p", 5).await.id;
        let order = bench.order(&[(product, 1)]);
        bench
            .store
            .accept(std::slice::from_ref(&order))
            .await
            .unwrap();
        bench
            .store
            .archive_product(product, bench.at)
            .await
            .unwrap();
        let decided = bench.store.decide(Selection::Oldest(1), strategy, bench.at);
        let failure = decided.await.unwrap().results[0].1.unwrap_err();
        assert_eq!(failure.code, FailureCode::ProductUnavailable, "{strategy}");
        let late = bench.order(&[(product, 1)]);
        let refused = bench.store.purchase(std::slice::from_ref(&late), strategy);
        let refused = refused.await.unwrap().results.remove(0);
        assert!(matches!(refused, Err(Error::ProductNotFound(id)) if id == product));
    }
    bench.books_balance().await;
}

pub(super) async fn a_refused_purchase_leaves_no_trace(bench: &Bench) {
    for strategy in Strategy::ALL {
        let (a, b) = (
            bench.product("a", 5).await.id,
            bench.product("b", 1).await.id,
        );
        let orders = [
            bench.order(&[(a, 1), (b, 2)]),
            bench.order(&[(b, 1), (a, 5)]),
            bench.order(&[(a, 1)]),
        ];
        let results = bench
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
            (OrderStatus::Success, Some(bench.at))
        );
        assert!(matches!(
            results[2],
            Err(Error::InsufficientStock { available: 0, .. })
        ));
        assert_eq!(
            bench.store.order(sold.id).await.unwrap().as_ref(),
            Some(sold)
        );
        for refused in [&orders[0], &orders[2]] {
            assert_eq!(bench.store.order(refused.id()).await.unwrap(), None);
        }
        assert_eq!((bench.stock(a).await, bench.stock(b).await), (0, 0));
        assert_eq!(bench.store.product(a).await.unwrap().unwrap().version, 2);
    }
    bench.books_balance().await;
}

pub(super) async fn cancelling_gives_the_stock_back_once(bench: &Bench) {
    let (a, b) = (
        bench.product("a", 5).await.id,
        bench.product("b", 5).await.id,
    );
    let sold = bench.order(&[(a, 2), (b, 1), (a, 1)]);
    let one = std::slice::from_ref(&sold);
    bench.store.purchase(one, Strategy::Batch).await.unwrap();
    for _ in 0..2 {
        let cancelled = bench
            .store
            .cancel(sold.id(), bench.at, None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(cancelled.order.status, OrderStatus::Cancelled);
        assert_eq!((bench.stock(a).await, bench.stock(b).await), (5, 5));
    }
    let orders = [bench.order(&[(a, 1)]), bench.order(&[(a, 9)])];
    bench.store.accept(&orders).await.unwrap();
    bench
        .store
        .cancel(orders[0].id(), bench.at, None)
        .await
        .unwrap();
    let decided = bench
        .store
        .decide(Selection::Oldest(9), Strategy::Batch, bench.at);
    assert_eq!(decided.await.unwrap().results.len(), 1);
    let failed = bench.store.cancel(orders[1].id(), bench.at, None).await;
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
        bench
            .store
            .cancel(OrderId(Uuid::nil()), bench.at, None)
            .await
            .unwrap(),
        None
    );
    too_much_cannot_come_back(bench, a).await;
    bench.books_balance().await;
}

async fn too_much_cannot_come_back(bench: &Bench, product: ProductId) {
    let order = bench.order(&[(product, 5)]);
    let one = std::slice::from_ref(&order);
    bench.store.purchase(one, Strategy::Batch).await.unwrap();
    let request = StockRequest::new(MAX_STOCK, None).unwrap();
    let adjustment = request.stamp(bench.adjustment_id(), product, bench.at);
    bench.store.adjust_stock(&adjustment).await.unwrap();
    let refused = bench.store.cancel(order.id(), bench.at, None).await;
    assert!(
        matches!(refused, Err(Error::StockLimit { .. })),
        "{refused:?}"
    );
    let still = bench.store.order(order.id()).await.unwrap().unwrap();
    assert_eq!(still.status, OrderStatus::Success);
}

pub(super) async fn the_price_is_that_of_the_acceptance(bench: &Bench) {
    let product = bench.product("p", 5).await.id;
    let order = bench.order(&[(product, 2)]);
    bench
        .store
        .accept(std::slice::from_ref(&order))
        .await
        .unwrap();
    let change = ProductChange::default()
        .price("9.99".parse().unwrap())
        .unwrap();
    let changed = bench
        .store
        .update_product(product, &change, bench.adjustment_id(), bench.at)
        .await;
    assert_eq!(changed.unwrap().unwrap().price.to_string(), "9.99");
    let decided = bench
        .store
        .decide(Selection::Oldest(1), Strategy::Batch, bench.at);
    assert_eq!(decided.await.unwrap().results, [(order.id(), Ok(()))]);
    let sold = bench.store.order(order.id()).await.unwrap().unwrap();
    assert_eq!(sold.lines[0].unit_price.to_string(), "2.50");
    assert_eq!(sold.total_price.to_string(), "5.00");
}

pub(super) async fn lists_filter_and_continue(bench: &Bench) {
    let (a, b) = (
        bench.product("a", 3).await.id,
        bench.product("b", 3).await.id,
    );
    let mut orders = bench.orders(5, &[(a, 1), (a, 1)]);
    orders.extend(bench.orders(2, &[(b, 1)]));
    bench.store.accept(&orders).await.unwrap();
    bench
        .store
        .cancel(orders[6].id(), bench.at, None)
        .await
        .unwrap();
    let decided = bench
        .store
        .decide(Selection::Oldest(9), Strategy::Batch, bench.at);
    assert_eq!(decided.await.unwrap().results.len(), 6);
    let list = async |query: OrderQuery| -> Vec<OrderId> {
        let mut ids = Vec::new();
        let mut start = PageStart::Newest;
        loop {
            let size = PageSize::new(2).unwrap();
            let page = PageRequest { size, start };
            let query = OrderQuery {
                page,
                ..query.clone()
            };
            let page = bench.store.orders(&query).await.unwrap();
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
