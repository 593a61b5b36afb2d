//! Checks of the audit log.

use serde_json::{Value, json};

use super::fixture::Fixture;
use crate::{
    audit::{Action, AuditChange, AuditEntry, AuditQuery, Author, by},
    domain::{
        AuditId, IdempotencyKey, KeyId, PageRequest, PageSize, PageStart, ProductChange,
        StockRequest,
    },
    keys::{KeyRequest, Secret},
    queue::Topic,
    store::Strategy,
};

fn page(size: u32, start: PageStart<AuditId>) -> PageRequest<AuditId> {
    let size = PageSize::new(size).unwrap();
    PageRequest { size, start }
}

/// The whole log, oldest first.
async fn log(fixture: &Fixture) -> Vec<AuditEntry> {
    let query = AuditQuery {
        page: page(100, PageStart::First),
        ..AuditQuery::default()
    };
    let page = fixture.audit().audit_entries(&query).await.unwrap();
    assert_eq!(page.next, None);
    page.items.into_iter().rev().collect()
}

fn brief(log: &[AuditEntry]) -> Vec<(&str, &str)> {
    let brief = log.iter().map(|entry| (&*entry.action, &*entry.subject));
    brief.collect()
}

fn of(value: Option<&Value>, pointer: &str) -> Value {
    let value = value.and_then(|value| value.pointer(pointer));
    value.cloned().unwrap_or_default()
}

/// Every change of a product, and none that did not happen.
pub(super) async fn changes_of_products_are_entered_once(fixture: &Fixture) {
    let author = Author {
        client: Some("Lager \"Süd\"".into()),
        key: Some(KeyId(fixture.ids.next(fixture.at))),
    };
    let lamp = by(author.clone(), fixture.product("Lamp", 5)).await;
    let (store, at) = (&fixture.store, fixture.at);
    let change = ProductChange::default().name("Lampe").unwrap();
    let update = store.update_product(lamp.id, &change, fixture.adjustment_id(), at);
    update.await.unwrap().unwrap();
    let key = IdempotencyKey::new(uuid::Uuid::nil(), "once").unwrap();
    let take = StockRequest::new(-2, Some("broken".to_owned())).unwrap();
    let take = take.with_key(key);
    for replayed in [false, true] {
        let take = take
            .clone()
            .into_adjustment(fixture.adjustment_id(), lamp.id, at);
        let taken = store.adjust_stock(&take).await.unwrap().unwrap();
        assert_eq!(taken.replayed, replayed);
    }
    let too_much = StockRequest::new(-9, None).unwrap();
    let too_much = too_much.into_adjustment(fixture.adjustment_id(), lamp.id, at);
    store.adjust_stock(&too_much).await.unwrap_err();
    let stale = change.clone().expect_version(1);
    let stale = store.update_product(lamp.id, &stale, fixture.adjustment_id(), at);
    stale.await.unwrap_err();
    store.archive_product(lamp.id, &[7], at).await.unwrap_err();
    for archived in [true, false] {
        let archive = store.archive_product(lamp.id, &[], at).await.unwrap();
        assert_eq!(archive, archived);
    }

    let log = log(fixture).await;
    let id = lamp.id.to_string();
    let actions = [
        "product.create",
        "product.update",
        "stock.adjust",
        "product.archive",
    ];
    assert_eq!(brief(&log), actions.map(|action| (action, &*id)));
    let [created, updated, adjusted, archived] = &log[..] else {
        unreachable!()
    };
    let who = (created.client.as_deref(), created.key);
    assert_eq!(who, (author.client.as_deref(), author.key));
    assert_eq!((&updated.client, updated.key), (&None, None));
    assert_eq!(created.before, None);
    assert_eq!(of(created.after.as_ref(), "/stock"), 5);
    assert_eq!(of(updated.before.as_ref(), "/name"), "Lamp");
    assert_eq!(of(updated.after.as_ref(), "/name"), "Lampe");
    assert_eq!(of(updated.after.as_ref(), "/price"), "2.50");
    assert_eq!(adjusted.before, Some(json!({"stock": 5, "version": 2})));
    let after = json!({"stock": 3, "version": 3, "delta": -2, "reason": "broken"});
    assert_eq!(adjusted.after, Some(after));
    assert_eq!(of(archived.before.as_ref(), "/stock"), 3);
    assert_eq!(archived.after, None);
}

/// What is sold is not entered; what takes it back is, once.
pub(super) async fn a_cancelled_order_is_entered_once(fixture: &Fixture) {
    let lamp = fixture.product("Lamp", 5).await;
    let orders = fixture.orders(2, &[(lamp.id, 1)]);
    let (sold, pending) = (orders[0].id, orders[1].id);
    let purchase = fixture.store.purchase(&orders[..1], Strategy::Batch);
    purchase.await.unwrap();
    fixture.store.accept(&orders[1..]).await.unwrap();
    for id in [sold, pending, sold] {
        let cancelled = fixture.store.cancel(id, fixture.at, None).await.unwrap();
        assert!(cancelled.is_some());
    }
    let log = log(fixture).await;
    let (sold, pending) = (sold.to_string(), pending.to_string());
    let cancelled = [("order.cancel", &*sold), ("order.cancel", &*pending)];
    assert_eq!(brief(&log)[1..], cancelled);
    assert_eq!(log[1].before, Some(json!({"status": "success"})));
    assert_eq!(log[2].before, Some(json!({"status": "pending"})));
    assert_eq!(of(log[1].after.as_ref(), "/status"), "cancelled");
}

pub(super) async fn keys_are_entered_without_their_hashes(fixture: &Fixture) {
    let secret = Secret::generate().unwrap();
    let request = KeyRequest::new("till", "orders".parse().unwrap()).unwrap();
    let client = super::keys::client(fixture, "till").await;
    let key = KeyId(fixture.ids.next(fixture.at));
    let key = request.into_hashed_key(key, &client, &secret, fixture.at);
    for _ in 0..2 {
        fixture.keys().create_key(&key).await.unwrap();
    }
    for _ in 0..2 {
        let revoked = fixture.keys().revoke_key(key.key.id, fixture.at).await;
        assert!(revoked.unwrap().unwrap().revoked_at.is_some());
    }
    let log = log(fixture).await;
    let id = key.key.id.to_string();
    assert_eq!(brief(&log), [("key.create", &*id), ("key.revoke", &*id)]);
    assert_eq!(of(log[0].after.as_ref(), "/name"), "till");
    assert_eq!(of(log[1].before.as_ref(), "/revoked_at"), Value::Null);
    assert!(of(log[1].after.as_ref(), "/revoked_at").is_string());
    let text = format!("{log:?}").to_lowercase();
    assert!(!text.contains("hash"), "{text}");
}

pub(super) async fn what_operators_do_to_queues_is_entered(fixture: &Fixture) {
    let queue = fixture.queue();
    for _ in 0..2 {
        queue.pause(Topic::Process).await.unwrap();
    }
    for _ in 0..2 {
        queue.resume(Topic::Process).await.unwrap();
    }
    let lamp = fixture.product("Lamp", 1).await;
    let order = fixture.order(&[(lamp.id, 1)]);
    fixture
        .store
        .purchase(std::slice::from_ref(&order), Strategy::Batch)
        .await
        .unwrap();
    let lease = std::time::Duration::from_secs(60);
    let claimed = queue.claim(Topic::Process, 1, lease, lease).await.unwrap();
    queue
        .dead_letter(Topic::Process, claimed, "broken")
        .await
        .unwrap();
    for redriven in [1, 0] {
        let redrive = queue.redrive(Topic::Process, &[order.id]).await.unwrap();
        assert_eq!(redrive, redriven);
    }
    fixture.tasks().put_task(order.id).await.unwrap().unwrap();
    let log = log(fixture).await;
    let (lamp, order) = (lamp.id.to_string(), order.id.to_string());
    let done = [
        ("topic.pause", "process"),
        ("topic.resume", "process"),
        ("product.create", &*lamp),
        ("dead_letter.redrive", &*order),
        ("task.put", &*order),
    ];
    assert_eq!(brief(&log), done);
}

pub(super) async fn the_log_is_read_by_filters_and_pages(fixture: &Fixture) {
    let audit = fixture.audit();
    let subjects = ["a", "b", "a", "c", "a"];
    for (n, subject) in subjects.into_iter().enumerate() {
        let action = if n < 2 {
            Action::TaskPut
        } else {
            Action::ProductExport
        };
        let change = AuditChange::of(action, subject);
        audit.record(&change).await.unwrap();
        fixture.wait(10).await;
    }
    let all = log(fixture).await;
    assert!(all.windows(2).all(|pair| pair[0].id < pair[1].id));
    let find = async |query: AuditQuery| {
        let page = audit.audit_entries(&query).await.unwrap();
        assert_eq!(page.total, None);
        let subjects = page.items.iter().map(|entry| entry.subject.clone());
        (subjects.collect::<String>(), page.next)
    };
    let with = |action: Option<&str>, subject: Option<&str>| AuditQuery {
        action: action.map(ToOwned::to_owned),
        subject: subject.map(ToOwned::to_owned),
        ..AuditQuery::default()
    };
    assert_eq!(find(with(None, None)).await.0, "acaba");
    assert_eq!(find(with(Some("task.put"), None)).await.0, "ba");
    assert_eq!(find(with(None, Some("a"))).await.0, "aaa");
    assert_eq!(find(with(Some("product.export"), Some("a"))).await.0, "aa");
    assert_eq!(find(with(Some("product"), None)).await.0, "");
    // Whoever moves the clock of the store by its rows moves none of these.
    let times = AuditQuery {
        since: Some(all[1].at),
        until: Some(all[3].at),
        ..AuditQuery::default()
    };
    let between = all
        .iter()
        .rev()
        .filter(|e| e.at >= all[1].at && e.at < all[3].at);
    let between: String = between.map(|entry| &*entry.subject).collect();
    assert_eq!(find(times).await.0, between);
    let first = AuditQuery {
        page: page(2, PageStart::First),
        ..AuditQuery::default()
    };
    let (subjects, next) = find(first).await;
    assert_eq!((&*subjects, next), ("ac", Some(all[3].id)));
    let second = AuditQuery {
        page: page(3, PageStart::After(next.unwrap())),
        ..AuditQuery::default()
    };
    assert_eq!(find(second).await, ("aba".to_owned(), None));
}
