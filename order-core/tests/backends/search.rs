//! Looking for products by a part of their name, among more than can be walked.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

use order_core::{
    domain::{PageRequest, PageSize, PageStart, ProductId, Sort},
    store::{PostgresStore, ProductQuery, ProductStore},
    testing::PostgresServer,
};

const PRODUCTS: i64 = 20_000;

/// Products by number, oldest first. Of each hundred one is blue. The older half has lamps,
/// the newer one chairs. One in the middle is named like no other.
async fn stocked() -> PostgresStore {
    let store = PostgresServer::shared().store().await;
    sqlx::query(
        "INSERT INTO products (id, name, price, stock, created_at, updated_at)
         SELECT (lpad(to_hex(n), 12, '0') || '70008000000000000000')::uuid,
                CASE WHEN n % 100 = 0 THEN 'Blue ' ELSE '' END
                || CASE WHEN n <= $1 / 2 THEN 'lamp' ELSE 'chair' END
                || CASE WHEN n = $1 / 3 THEN ' Zq' ELSE '' END,
                100, 1, now(), now()
         FROM generate_series(1, $1) n",
    )
    .bind(PRODUCTS)
    .execute(store.pool())
    .await
    .unwrap();
    sqlx::query("UPDATE products SET archived_at = now() WHERE substr(id::text, 13, 2) = '7-'")
        .execute(store.pool())
        .await
        .unwrap();
    store
}

/// What the pages of a search are, by the plainest of queries.
async fn expected(store: &PostgresStore, part: &str, sort: Sort) -> Vec<ProductId> {
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
        "SELECT id FROM products WHERE archived_at IS NULL
           AND position(lower($1) IN lower(name)) > 0 ORDER BY id DESC",
    )
    .bind(part)
    .fetch_all(store.pool())
    .await
    .unwrap();
    let mut ids: Vec<_> = ids.into_iter().map(ProductId).collect();
    sort.arrange(&mut ids, |id| *id);
    ids
}

/// The first pages, by cursor.
async fn found(
    store: &PostgresStore,
    part: &str,
    sort: Sort,
    mut start: PageStart<ProductId>,
) -> Vec<ProductId> {
    let mut found = Vec::new();
    for _ in 0..4 {
        let query = ProductQuery {
            search: Some(part.to_owned()),
            sort,
            page: PageRequest {
                size: PageSize::new(100).unwrap(),
                start,
            },
            ..ProductQuery::default()
        };
        let page = store.products(&query).await.unwrap();
        found.extend(page.items.iter().map(|product| product.id));
        match page.next {
            Some(id) => start = PageStart::After(id),
            None => break,
        }
    }
    found
}

/// What is common among the first is met on the walk; what is rare is found by the index;
/// and what is common, but among the last only, when the walk goes on.
#[tokio::test(flavor = "multi_thread")]
async fn common_and_rare_parts_are_found_in_both_orders() {
    let store = stocked().await;
    let parts = [
        "chair", "CH", "i", "lamp", "La", "m", "blue", "ue l", "zq", "p zQ", "q", "none",
    ];
    for (part, sort) in parts
        .into_iter()
        .flat_map(|part| Sort::ALL.map(|sort| (part, sort)))
    {
        let all = expected(&store, part, sort).await;
        let first = found(&store, part, sort, PageStart::First).await;
        assert_eq!(first, all[..all.len().min(400)], "{part:?} {sort}");
        let far = all.len().saturating_sub(150);
        let Some(after) = all.get(far.saturating_sub(1)).copied() else {
            continue;
        };
        let rest = found(&store, part, sort, PageStart::After(after)).await;
        let is_after = |id: &ProductId| sort.is_after(id, &after);
        let expected: Vec<_> = all.into_iter().filter(is_after).collect();
        assert_eq!(rest, expected, "{part:?} {sort} after {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_numbers_tell_how_many_there_are() {
    let store = stocked().await;
    for (part, offset) in [
        ("chair", 4_000),
        ("lamp", 0),
        ("blue", 100),
        ("zq", 0),
        ("none", 0),
    ] {
        let all = expected(&store, part, Sort::NewestFirst).await;
        let query = ProductQuery {
            search: Some(part.to_owned()),
            page: PageRequest {
                size: PageSize::default(),
                start: PageStart::Offset(offset),
            },
            ..ProductQuery::default()
        };
        let page = store.products(&query).await.unwrap();
        assert_eq!(page.total, Some(all.len().min(10_000) as u64), "{part:?}");
        let ids: Vec<_> = page.items.iter().map(|product| product.id).collect();
        let wanted: Vec<_> = all.into_iter().skip(offset as usize).take(20).collect();
        assert_eq!(ids, wanted, "{part:?}");
    }
}
