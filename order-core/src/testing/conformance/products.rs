//! Checks of products.

use uuid::Uuid;

use super::fixture::Fixture;
use crate::{
    domain::{
        MAX_STOCK, PageRequest, PageSize, PageStart, Product, ProductChange, ProductId,
        ProductRequest, StockRequest,
    },
    error::Error,
    store::ProductQuery,
};

pub(super) async fn created_products_can_be_read(fixture: &Fixture) {
    let name = "Lampe \"Ångström\" 'x' ; -- % _ \\ 灯";
    let request = ProductRequest::new(
        name,
        "9999999999999.99".parse().unwrap(),
        MAX_STOCK,
        Some("S".repeat(64)),
    );
    let created = fixture.create(request.unwrap()).await.unwrap();
    assert_eq!(created.name, name);
    assert_eq!((created.version, created.stock), (1, MAX_STOCK));
    assert_eq!(created.created_at, fixture.at);
    let read = fixture.store.product(created.id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&created));
    let unknown = fixture.store.product(ProductId(Uuid::nil())).await.unwrap();
    assert_eq!(unknown, None);
    fixture.books_balance().await;
}

pub(super) async fn skus_are_unique_among_active_products(fixture: &Fixture) {
    let request = |sku: &str| {
        ProductRequest::new("n", "1".parse().unwrap(), 1, Some(sku.to_owned())).unwrap()
    };
    let first = fixture.create(request("A")).await.unwrap();
    assert!(matches!(
        fixture.create(request("A")).await,
        Err(Error::SkuTaken)
    ));
    let second = fixture.create(request("B")).await.unwrap();
    let change = ProductChange::default().sku(Some("A".to_owned())).unwrap();
    let taken = fixture
        .store
        .update_product(second.id, &change, fixture.adjustment_id(), fixture.at)
        .await;
    assert!(matches!(taken, Err(Error::SkuTaken)));
    assert!(
        fixture
            .store
            .archive_product(first.id, &[], fixture.at)
            .await
            .unwrap()
    );
    let with_sku = async |sku: &str| fixture.store.product_with_sku(sku).await.unwrap();
    assert_eq!(with_sku("A").await, None, "it is archived");
    let third = fixture.create(request("A")).await.unwrap();
    assert_eq!(with_sku("A").await, Some(third));
    assert_eq!(
        with_sku("B").await.map(|product| product.id),
        Some(second.id)
    );
    assert_eq!(with_sku("a").await, None);
    fixture.books_balance().await;
}

pub(super) async fn many_are_written_as_each_alone(fixture: &Fixture) {
    let new = |name: &str, sku: &str| {
        let sku = Some(sku.to_owned());
        let request = ProductRequest::new(name, "1".parse().unwrap(), 5, sku).unwrap();
        let id = ProductId(fixture.ids.next(fixture.at));
        request.into_new_product(id, fixture.adjustment_id(), fixture.at)
    };
    let all = [new("Ärmel", "b"), new("Taken", "b"), new("Lamp", "a")];
    let store = &fixture.store;
    let created = store.create_products(&all).await.unwrap();
    assert!(matches!(created[1], Err(Error::SkuTaken)), "{created:?}");
    let (first, last) = (created[0].clone().unwrap(), created[2].clone().unwrap());
    for product in [&first, &last] {
        let stored = store.product(product.id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(product));
    }
    let again = store.create_products(&[new("Late", "a")]).await.unwrap();
    assert!(matches!(again[0], Err(Error::SkuTaken)), "{again:?}");
    let skus = ["a", "b", "c"].map(ToOwned::to_owned);
    let mut named = store.products_named(&skus, &[]).await.unwrap();
    named.sort_by_key(|product| product.id);
    assert_eq!(named, [first.clone(), last.clone()]);
    let ids = [first.id, ProductId(Uuid::nil())];
    assert_eq!(
        store.products_named(&[], &ids).await.unwrap(),
        std::slice::from_ref(&first)
    );

    let change = |stock| ProductChange::default().stock(stock).unwrap();
    let changes = [
        (first.id, change(7).expect_version(1)),
        (last.id, change(7).expect_version(2)),
        (ProductId(Uuid::nil()), change(7)),
    ];
    let changes = changes.map(|(id, change)| (id, change, fixture.adjustment_id()));
    let later = fixture.at + chrono::TimeDelta::seconds(1);
    let changed = store.update_products(&changes, later).await.unwrap();
    let now = changed[0].as_ref().unwrap();
    assert_eq!((now.stock, now.version), (7, 2));
    assert_eq!((now.created_at, now.updated_at), (fixture.at, later));
    assert_eq!(store.product(first.id).await.unwrap().as_ref(), Some(now));
    let stale = Error::VersionMismatch {
        expected: 2,
        actual: 1,
    };
    assert_eq!(
        changed[1].as_ref().unwrap_err().to_string(),
        stale.to_string()
    );
    assert!(matches!(changed[2], Err(Error::Locked)), "{changed:?}");
    assert_eq!(fixture.stock(last.id).await, 5);
    assert!(store.create_products(&[]).await.unwrap().is_empty());
    fixture.books_balance().await;
}

fn is_stale(error: Option<&Error>) -> bool {
    let expected_and_actual = match error {
        Some(Error::VersionMismatch { expected, actual }) => (*expected, *actual),
        _ => return false,
    };
    expected_and_actual == (1, 2)
}

pub(super) async fn changes_grow_the_version_and_enter_the_ledger(fixture: &Fixture) {
    let product = fixture.product("before", 10).await;
    let change = ProductChange::default()
        .name("after")
        .and_then(|change| change.stock(3))
        .unwrap()
        .expect_version(1);
    let id = fixture.adjustment_id();
    let changed = fixture
        .store
        .update_product(product.id, &change, id, fixture.at);
    let changed = changed.await.unwrap().unwrap();
    assert_eq!((changed.version, changed.stock), (2, 3));
    assert_eq!(
        (changed.name.as_str(), changed.price),
        ("after", product.price)
    );
    let again = fixture
        .store
        .update_product(product.id, &change, fixture.adjustment_id(), fixture.at)
        .await;
    assert!(is_stale(again.as_ref().err()), "{again:?}");
    let stale = fixture
        .store
        .archive_product(product.id, &[1, 3], fixture.at);
    let stale = stale.await;
    assert!(is_stale(stale.as_ref().err()), "{stale:?}");
    assert!(
        fixture
            .store
            .archive_product(product.id, &[1, 2], fixture.at)
            .await
            .unwrap()
    );
    assert!(
        !fixture
            .store
            .archive_product(product.id, &[], fixture.at)
            .await
            .unwrap()
    );
    assert_eq!(fixture.store.product(product.id).await.unwrap(), None);
    let gone = fixture
        .store
        .update_product(
            product.id,
            &ProductChange::default(),
            fixture.adjustment_id(),
            fixture.at,
        )
        .await;
    assert_eq!(gone.unwrap(), None);
    fixture.books_balance().await;
}

pub(super) async fn stock_stays_within_its_bounds(fixture: &Fixture) {
    let product = fixture.product("p", 5).await;
    let adjust = async |delta| {
        let request = StockRequest::new(delta, Some("count".to_owned())).unwrap();
        let adjustment = request.into_adjustment(fixture.adjustment_id(), product.id, fixture.at);
        fixture.store.adjust_stock(&adjustment).await
    };
    let refused = adjust(-6).await;
    assert!(
        matches!(
            refused,
            Err(Error::InsufficientStock {
                requested: 6,
                available: 5,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(adjust(-5).await.unwrap().map(|p| p.value.stock), Some(0));
    assert_eq!(
        adjust(MAX_STOCK).await.unwrap().map(|p| p.value.stock),
        Some(MAX_STOCK)
    );
    assert!(matches!(adjust(1).await, Err(Error::StockLimit { .. })));
    let gone = StockRequest::new(1, None).unwrap().into_adjustment(
        fixture.adjustment_id(),
        ProductId(Uuid::nil()),
        fixture.at,
    );
    assert_eq!(fixture.store.adjust_stock(&gone).await.unwrap(), None);
    fixture.books_balance().await;
}

pub(super) async fn pages_and_search_find_each_product_once(fixture: &Fixture) {
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(fixture.product(&format!("Lamp {number}% off"), 1).await.id);
    }
    fixture.product("chair", 1).await;
    made.reverse();
    let find = async |search: &str, start| {
        let size = PageSize::new(3).unwrap();
        let query = ProductQuery {
            search: Some(search.to_owned()),
            page: PageRequest { size, start },
            ..ProductQuery::default()
        };
        fixture.store.products(&query).await.unwrap()
    };
    let ids = |items: &[Product]| items.iter().map(|p| p.id).collect::<Vec<_>>();
    let mut found = Vec::new();
    let mut start = PageStart::First;
    loop {
        let page = find("lAMP", start).await;
        assert_eq!(page.total, None);
        found.extend(ids(&page.items));
        match page.next {
            Some(id) => start = PageStart::After(id),
            None => break,
        }
    }
    assert_eq!(found, made);
    let third = find("lamp", PageStart::Offset(6)).await;
    assert_eq!(
        (ids(&third.items), third.total),
        (made[6..].to_vec(), Some(7))
    );
    assert_eq!(find("% OFF", PageStart::Offset(0)).await.total, Some(7));
    assert_eq!(find("_", PageStart::Offset(0)).await.total, Some(0));
    assert_eq!(find("", PageStart::Offset(0)).await.total, Some(8));
}

/// Parts of every length, with all that means something to a language of queries.
pub(super) async fn any_part_of_a_name_finds_it(fixture: &Fixture) {
    let name = r#"It's a \"Desk\" & |! <-> :* (x) %_ 灯ö"#;
    let made = fixture.product(name, 1).await.id;
    fixture.product("something else", 1).await;
    let find = async |part: &str| {
        let query = ProductQuery {
            search: Some(part.to_owned()),
            page: PageRequest::default(),
            ..ProductQuery::default()
        };
        let page = fixture.store.products(&query).await.unwrap();
        page.items.iter().map(|p| p.id).collect::<Vec<_>>()
    };
    let chars: Vec<char> = name.chars().collect();
    for length in 1..=5 {
        for part in chars.windows(length) {
            let part: String = part.iter().collect();
            assert!(find(&part).await.contains(&made), "{part:?}");
        }
    }
    for part in ["DESK", "it'S", name] {
        assert_eq!(find(part).await, [made], "{part:?}");
    }
    for part in ["灯灯", "zz", "\\\\", "esk  ", &"x".repeat(300)] {
        assert_eq!(find(part).await, [], "{part:?}");
    }
}
