//! Erasing what is personal.

use std::fs;

use order_core::{
    Error,
    audit::AuditQuery,
    domain::{OrderRequest, OrderStatus},
    store::OrderQuery,
};

use super::shop::{OldShop, Place, key, lines, pieces, work_off};

/// How many rows of what clients and programs write have a word.
async fn says(place: &Place, word: &str) -> i64 {
    let mut found = 0;
    for (table, column) in [
        ("orders", "customer"),
        ("orders", "reference"),
        ("orders", "failure_detail"),
        ("idempotency_keys", "key"),
        ("process_attempts", "error"),
        ("queue_entries", "reason"),
        ("audit_log", "subject"),
        ("audit_log", "before"),
        ("audit_log", "after"),
        ("stock_adjustments", "reason"),
        ("archived_purchases", "customer"),
        ("clients", "name"),
        ("workers", "host"),
    ] {
        let count =
            format!("SELECT count(*) FROM {table} WHERE CAST({column} AS text) LIKE '%{word}%'");
        found += place.raw.count(&count).await;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_tells_of_a_customer_who_is_erased() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let shop = place.today();
        let request = || {
            let order = OrderRequest::new(lines(old.lamp, 1), Some("to eve".to_owned()));
            order.unwrap().for_customer(Some("eve".to_owned())).unwrap()
        };
        let again = || request().with_key(key("again"));
        shop.purchase(again()).await.unwrap();
        let refused = shop.erase_customer("eve").await.unwrap_err();
        assert!(
            matches!(refused, Error::OpenOrders { orders: 1 }),
            "{refused:?}"
        );
        assert!(says(&place, "eve").await > 0);
        place.later().await;
        work_off(&shop).await;

        let before = place.store.verify().await.unwrap();
        let erased = shop.erase_customer("eve").await.unwrap();
        assert_eq!((erased.orders, erased.archived_products), (1, 0));
        assert_eq!(says(&place, "eve").await, 0);
        assert_eq!(place.store.verify().await.unwrap(), before);
        let done = OrderQuery {
            status: Some(OrderStatus::Completed),
            ..OrderQuery::default()
        };
        let orders = shop.orders(&done).await.unwrap().items;
        assert!(
            orders
                .iter()
                .any(|order| order.customer.as_deref() == Some("zoe"))
        );
        // The request is not carried out once more: nothing tells any more that it is the same.
        let refused = shop.purchase(again()).await.unwrap_err();
        assert!(
            matches!(refused, Error::IdempotencyKeyReused),
            "{refused:?}"
        );
        let query = AuditQuery {
            action: Some("customer.erase".to_owned()),
            ..AuditQuery::default()
        };
        let entries = async || shop.audit_entries(&query).await.unwrap().items.len();
        assert_eq!(entries().await, 1);
        let again = shop.erase_customer("eve").await.unwrap();
        assert_eq!((again.orders, again.archived_products), (0, 0));
        assert_eq!(entries().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_of_a_customer_counts_no_longer() {
    for place in Place::each().await {
        let old = OldShop::new(&place).await;
        let shop = place.today();
        let ticket = || {
            let order = pieces(old.ticket, 2);
            order.for_customer(Some("zoe".to_owned())).unwrap()
        };
        shop.archive(place.options()).await.unwrap();
        let files = fs::read_dir(place.archive()).unwrap().count();
        let refused = shop.purchase(ticket()).await.unwrap_err();
        assert!(
            matches!(refused, Error::CustomerLimit { .. }),
            "{refused:?}"
        );
        let erased = shop.erase_customer("zoe").await.unwrap();
        assert_eq!((erased.orders, erased.archived_products), (0, 1));
        assert_eq!(erased.files as usize, (files - 1) / 2);
        assert_eq!(says(&place, "zoe").await, 0);
        assert_eq!(says(&place, "bob").await, 2, "of somebody else nothing is");
        shop.purchase(ticket()).await.unwrap();
        assert_eq!(place.store.verify().await.unwrap(), []);
    }
}
