//! Checks of the filters of lists, and of what money holds.

use chrono::TimeDelta;

use super::fixture::Fixture;
use crate::{
    domain::{
        MAX_STOCK, Money, Order, OrderId, OrderRequest, OrderStatus, PageRequest, PageSize,
        PageStart, Product, ProductId, ProductRequest, Quantity, RequestedLine, Sort, TimeRange,
    },
    error::Error,
    store::{OrderQuery, ProductQuery, Strategy},
};

/// Five products, three hours apart: name, price, stock and sku of each are made of its number.
async fn five_products(fixture: &Fixture) -> Vec<Product> {
    let mut made = Vec::new();
    let values = [("1", 0), ("2.50", 1), ("2.50", 0), ("4", 7), ("9", 9)];
    for (number, (price, stock)) in values.into_iter().enumerate() {
        let name = format!("Lamp {}", number % 2);
        let sku = Some(format!("S-{number}"));
        let request = ProductRequest::new(name, price.parse().unwrap(), stock, sku).unwrap();
        let at = fixture.at + TimeDelta::hours(3 * i64::try_from(number).unwrap());
        let id = ProductId(fixture.ids.next(at));
        let product = request.into_new_product(id, fixture.adjustment_id(), at);
        made.push(fixture.store.create_product(&product).await.unwrap());
    }
    made
}

/// The ids of a whole list, page by page.
async fn all_of(fixture: &Fixture, mut query: ProductQuery) -> Vec<ProductId> {
    let mut found = Vec::new();
    query.page.size = PageSize::new(2).unwrap();
    loop {
        let page = fixture.store.products(&query).await.unwrap();
        found.extend(page.items.iter().map(|product| product.id));
        match page.next {
            Some(id) => query.page.start = PageStart::After(id),
            None => return found,
        }
    }
}

/// The ids of a whole list of orders, page by page.
async fn all_orders_of(fixture: &Fixture, mut query: OrderQuery) -> Vec<OrderId> {
    let mut found = Vec::new();
    query.page.size = PageSize::new(2).unwrap();
    loop {
        let page = fixture.store.orders(&query).await.unwrap();
        found.extend(page.items.iter().map(|order| order.id));
        match page.next {
            Some(id) => query.page.start = PageStart::After(id),
            None => return found,
        }
    }
}

/// The query whose fields `set` sets.
fn by(set: impl FnOnce(&mut ProductQuery)) -> ProductQuery {
    let mut query = ProductQuery::default();
    set(&mut query);
    query
}

pub(super) async fn filters_leave_what_they_say(fixture: &Fixture) {
    let made = five_products(fixture).await;
    let ids = Some(vec![made[3].id, made[0].id]);
    let part = Some("LAMP 1".to_owned());
    let price = Some(made[1].price);
    let times = |from: Option<usize>, until: Option<usize>| TimeRange {
        from: from.map(|number| made[number].created_at),
        until: until.map(|number| made[number].created_at),
    };
    let queries: [(ProductQuery, &[usize]); 16] = [
        (ProductQuery::default(), &[4, 3, 2, 1, 0]),
        (by(|q| q.sku = Some("S-2".to_owned())), &[2]),
        (by(|q| q.sku = Some("s-2".to_owned())), &[]),
        (by(|q| q.ids.clone_from(&ids)), &[3, 0]),
        (by(|q| (q.ids, q.in_stock) = (ids, Some(true))), &[3]),
        (by(|q| q.min_price = price), &[4, 3, 2, 1]),
        (by(|q| q.max_price = Some(made[3].price)), &[3, 2, 1, 0]),
        (by(|q| (q.min_price, q.max_price) = (price, price)), &[2, 1]),
        (by(|q| q.in_stock = Some(true)), &[4, 3, 1]),
        (by(|q| q.in_stock = Some(false)), &[2, 0]),
        (by(|q| q.search.clone_from(&part)), &[3, 1]),
        (by(|q| (q.search, q.max_price) = (part, price)), &[1]),
        (by(|q| q.created = times(Some(2), None)), &[4, 3, 2]),
        (by(|q| q.created = times(None, Some(2))), &[1, 0]),
        (by(|q| q.created = times(Some(1), Some(4))), &[3, 2, 1]),
        (by(|q| q.created = times(Some(4), Some(1))), &[]),
    ];
    let sorted = queries
        .into_iter()
        .flat_map(|one| Sort::ALL.map(|sort| (sort, one.clone())));
    for (sort, (mut query, expected)) in sorted {
        query.sort = sort;
        let mut expected: Vec<_> = expected.iter().map(|number| made[*number].id).collect();
        sort.arrange(&mut expected, |id| *id);
        assert_eq!(all_of(fixture, query.clone()).await, expected, "{query:?}");
        let mut numbered = query.clone();
        numbered.page = PageRequest::numbered(1, PageSize::new(2).unwrap()).unwrap();
        let page = fixture.store.products(&numbered).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|product| product.id).collect();
        assert_eq!(ids, expected[..expected.len().min(2)], "{query:?}");
        assert_eq!(page.total, Some(expected.len() as u64), "{query:?}");
    }
}

pub(super) async fn lists_keep_to_a_range_of_times(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let line = RequestedLine {
        product_id: product,
        quantity: Quantity::new(1).unwrap(),
    };
    let made = (0..5).map(|hours| {
        let at = fixture.at + TimeDelta::hours(3 * hours);
        let request = OrderRequest::new(vec![line], Some("r".to_owned())).unwrap();
        request.into_new_order(OrderId(fixture.ids.next(at)), at)
    });
    let made: Vec<_> = made.collect();
    fixture.store.accept(&made).await.unwrap();
    let at = |number: usize| Some(made[number].created_at());
    for (from, until, expected) in [
        (at(2), None, vec![4, 3, 2]),
        (None, at(2), vec![1, 0]),
        (at(1), at(4), vec![3, 2, 1]),
        (at(4), at(1), vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|n: usize| made[n].id()).collect();
        let all = OrderQuery {
            created: TimeRange { from, until },
            ..OrderQuery::default()
        };
        for (product_id, status, reference) in [
            (None, None, None),
            (Some(product), None, None),
            (None, Some(OrderStatus::Pending), None),
            (Some(product), Some(OrderStatus::Pending), None),
            (Some(product), None, Some("r".to_owned())),
        ] {
            let mut query = OrderQuery {
                product_id,
                status,
                reference,
                ..all.clone()
            };
            let mut oldest_first = expected.clone();
            oldest_first.reverse();
            query.sort = Sort::OldestFirst;
            let walked = all_orders_of(fixture, query.clone()).await;
            assert_eq!(walked, oldest_first, "{query:?}");
            query.sort = Sort::NewestFirst;
            for start in [PageStart::First, PageStart::Offset(0)] {
                query.page.start = start;
                let page = fixture.store.orders(&query).await.unwrap();
                let ids: Vec<_> = page.items.iter().map(|order| order.id).collect();
                assert_eq!(ids, expected, "{query:?}");
                let counted = page
                    .total
                    .is_none_or(|total| total == expected.len() as u64);
                assert!(counted, "{:?} of {query:?}", page.total);
            }
        }
    }
}

pub(super) async fn a_total_that_does_not_fit_is_refused(fixture: &Fixture) {
    let price = Money::MAX_PRICE;
    let request = ProductRequest::new("dear", price, MAX_STOCK, None).unwrap();
    let dear = fixture.create(request).await.unwrap().id;
    let orders = [
        fixture.order(&[(dear, 9_000)]),
        fixture.order(&[(dear, 1_000_000)]),
        fixture.order(&[(dear, 9_000), (dear, 9_000)]),
        fixture.order(&[(dear, 1)]),
    ];
    let is_refused = |result: &Result<Order, Error>| match result {
        Err(Error::Invalid { field, .. }) => field == "total_price",
        _ => false,
    };
    let accepted = fixture.store.accept(&orders).await.unwrap();
    assert!(
        is_refused(&accepted[1]) && is_refused(&accepted[2]),
        "{accepted:?}"
    );
    for strategy in [
        Strategy::Batch,
        Strategy::RowLock,
        Strategy::ConditionalUpdate,
    ] {
        let orders = [
            fixture.order(&[(dear, 1_000_000)]),
            fixture.order(&[(dear, 9_000)]),
        ];
        let bought = fixture
            .store
            .purchase(&orders, strategy)
            .await
            .unwrap()
            .results;
        assert!(is_refused(&bought[0]), "{bought:?}");
        let total = bought[1].as_ref().unwrap().total_price.minor_units();
        assert_eq!(total, 9_000 * price.minor_units());
        let read = fixture.store.order(orders[1].id()).await.unwrap().unwrap();
        assert_eq!(read.total_price.minor_units(), total);
    }
    assert_eq!(accepted[3].as_ref().unwrap().total_price, price);
    fixture.books_balance().await;
}
