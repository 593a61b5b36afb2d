//! Checks of returns: part of an order comes back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{
    fixture::Fixture,
    races::{TASKS, at_once},
};
use crate::{
    audit::{AuditQuery, Author, by},
    domain::{
        IdempotencyKey, KeyId, MAX_STOCK, Order, OrderId, OrderReturn, OrderStatus, PageRequest,
        PageSize, PageStart, ProductId, Quantity, RequestedLine, ReturnId, ReturnRequest,
        StockEntry, StockEntryKind, StockRequest,
    },
    error::Error,
    process::{AttemptOutcome, TaskKind, TaskState},
    store::{OrderQuery, OrderStore, Selection, Strategy},
};

type Lines<'a> = &'a [(ProductId, i64)];

fn lines(of: Lines<'_>) -> Vec<RequestedLine> {
    let lines = of.iter().map(|(product_id, pieces)| RequestedLine {
        product_id: *product_id,
        quantity: Quantity::new(*pieces).unwrap(),
    });
    lines.collect()
}

impl Fixture {
    pub(super) fn a_return(&self, id: OrderId, of: Lines<'_>, key: Option<&str>) -> OrderReturn {
        let mut request = ReturnRequest::new(lines(of)).unwrap();
        if let Some(key) = key {
            request = request.with_key(IdempotencyKey::new(Uuid::nil(), key).unwrap());
        }
        request.into_return(ReturnId(self.ids.next(self.at)), id, self.at)
    }

    pub(super) async fn give_back(&self, id: OrderId, of: Lines<'_>) -> Result<Order, Error> {
        let returned = self.a_return(id, of, None);
        let given = self.store.give_back(&returned).await?;
        Ok(given.unwrap().order)
    }

    /// An order of these lines, bought at once.
    pub(super) async fn bought(&self, of: Lines<'_>) -> Order {
        let order = self.order(of);
        let bought = self.store.purchase(&[order], Strategy::Batch).await;
        bought.unwrap().results.remove(0).unwrap()
    }

    /// A bought order of these lines whose task is done.
    async fn completed(&self, of: Lines<'_>) -> OrderId {
        let id = self.bought(of).await.id;
        let claimed = self.claim(1).await.remove(0);
        assert_eq!(claimed.lease.order_id, id);
        assert_eq!(self.end(&claimed, AttemptOutcome::Done).await, 1);
        id
    }
}

pub(super) async fn part_of_an_order_comes_back(fixture: &Fixture) {
    let (a, b) = (
        fixture.product("a", 10).await.id,
        fixture.product("b", 10).await.id,
    );
    let bought = fixture.bought(&[(a, 3), (b, 4), (a, 2)]).await;
    let id = bought.id;
    let returned = fixture.a_return(id, &[(b, 1), (a, 4)], None);
    let given = fixture.store.give_back(&returned).await.unwrap().unwrap();
    let cancelled = |order: &Order| {
        let lines = order.lines.iter().map(|line| line.cancelled_quantity);
        lines.collect::<Vec<i64>>()
    };
    assert_eq!(cancelled(&given.order), [3, 1, 1]);
    assert_eq!(given.order.total_price.to_string(), "10.00");
    assert_eq!(given.order.status, OrderStatus::Success);
    let mut changed: Vec<_> = given.changed.iter().map(|p| (p.id, p.stock)).collect();
    changed.sort_unstable();
    assert_eq!(changed, [(a, 9), (b, 7)]);
    assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (9, 7));
    let read = fixture.store.order(id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&given.order));
    for product_id in [None, Some(b)] {
        let query = OrderQuery {
            product_id,
            ..OrderQuery::default()
        };
        let listed = fixture.store.orders(&query).await.unwrap().items;
        assert_eq!(listed, std::slice::from_ref(&given.order));
    }
    fixture.books_balance().await;

    let refused = async |of: Lines<'_>, what: &str| {
        let refused = fixture.give_back(id, of).await.unwrap_err();
        assert!(matches!(&refused, Error::Invalid { field, .. } if field == what));
    };
    refused(
        &[(a, 1), (ProductId(Uuid::nil()), 1)],
        "lines[1].product_id",
    )
    .await;
    refused(&[(a, 2)], "lines[0].quantity").await;
    refused(&[(b, 2), (b, 2)], "lines[1].quantity").await;
    assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (9, 7));

    let rest = fixture.give_back(id, &[(a, 1), (b, 3)]).await.unwrap();
    assert_eq!(
        (rest.status, rest.cancelled_at),
        (OrderStatus::Cancelled, Some(fixture.at))
    );
    assert_eq!(rest.total_price.to_string(), "0.00");
    assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (10, 10));
    refused(&[(a, 1)], "lines[0].quantity").await;
    let again = fixture.store.cancel(id, fixture.at, None).await.unwrap();
    assert_eq!(again.unwrap().order, rest);
    fixture.books_balance().await;
}

pub(super) async fn the_rest_of_an_order_is_cancelled(fixture: &Fixture) {
    let product = fixture.product("p", 10).await.id;
    let id = fixture.bought(&[(product, 6)]).await.id;
    fixture.give_back(id, &[(product, 2)]).await.unwrap();
    let cancelled = fixture
        .store
        .cancel(id, fixture.at, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(cancelled.order.status, OrderStatus::Cancelled);
    assert_eq!(cancelled.order.lines[0].cancelled_quantity, 6);
    assert_eq!(fixture.stock(product).await, 10);
    let read = fixture.store.order(id).await.unwrap();
    assert_eq!(read, Some(cancelled.order));
    fixture.books_balance().await;
}

pub(super) async fn only_what_holds_stock_gives_back(fixture: &Fixture) {
    let product = fixture.product("p", 5).await.id;
    let orders = [
        fixture.order(&[(product, 1)]),
        fixture.order(&[(product, 9)]),
    ];
    fixture.store.accept(&orders).await.unwrap();
    let refused = fixture.give_back(orders[0].id, &[(product, 1)]).await;
    let is_pending = |error: &Error| {
        matches!(
            error,
            Error::OrderState {
                status: OrderStatus::Pending
            }
        )
    };
    assert!(is_pending(&refused.unwrap_err()));
    // What was refused may hold its order locked for a moment more, so that it is skipped.
    let (pick, start, mut count) = (Selection::Oldest(9), Instant::now(), 0);
    while count < 2 && start.elapsed() < Duration::from_secs(5) {
        let decided = fixture.store.decide(pick, Strategy::Batch, fixture.at);
        count += decided.await.unwrap().results.len();
    }
    assert_eq!(count, 2);
    let refused = fixture.give_back(orders[1].id, &[(product, 1)]).await;
    let is_failed = |error: &Error| {
        matches!(
            error,
            Error::OrderState {
                status: OrderStatus::Failed
            }
        )
    };
    assert!(is_failed(&refused.unwrap_err()));
    let nowhere = fixture.a_return(OrderId(Uuid::nil()), &[(product, 1)], None);
    assert_eq!(fixture.store.give_back(&nowhere).await.unwrap(), None);

    // What is archived gets its stock back, and what is full does not.
    let (archived, full) = (
        fixture.product("a", 5).await.id,
        fixture.product("f", 5).await.id,
    );
    let sold = fixture.bought(&[(archived, 2), (full, 2)]).await.id;
    fixture
        .store
        .archive_product(archived, &[], fixture.at)
        .await
        .unwrap();
    let returned = fixture.a_return(sold, &[(archived, 1)], None);
    let given = fixture.store.give_back(&returned).await.unwrap().unwrap();
    assert_eq!(given.changed, []);
    let request = StockRequest::new(MAX_STOCK - 3, None).unwrap();
    let adjustment = request.into_adjustment(fixture.adjustment_id(), full, fixture.at);
    fixture.store.adjust_stock(&adjustment).await.unwrap();
    let refused = fixture.give_back(sold, &[(full, 1)]).await;
    assert!(matches!(refused, Err(Error::StockLimit { product_id }) if product_id == full));
    fixture.books_balance().await;
}

pub(super) async fn a_return_with_a_key_is_carried_out_once(fixture: &Fixture) {
    let product = fixture.product("p", 9).await.id;
    let bought = fixture.bought(&[(product, 5)]).await;
    let keyed = |pieces| fixture.a_return(bought.id, &[(product, pieces)], Some("back"));
    let mut replayed = Vec::new();
    for _ in 0..2 {
        let given = fixture.store.give_back(&keyed(2)).await.unwrap().unwrap();
        assert_eq!(given.order.lines[0].cancelled_quantity, 2);
        replayed.push(given.replayed);
    }
    assert_eq!(replayed, [false, true]);
    assert_eq!(fixture.stock(product).await, 6);
    let other = fixture.store.give_back(&keyed(1)).await;
    assert!(matches!(other, Err(Error::IdempotencyKeyReused)));
    let key = IdempotencyKey::new(Uuid::nil(), "back").unwrap();
    let all = fixture
        .store
        .cancel(bought.id, fixture.at, Some(&key))
        .await;
    assert!(matches!(all, Err(Error::IdempotencyKeyReused)));
    // A refused one keeps no key.
    let too_many = fixture.a_return(bought.id, &[(product, 4)], Some("more"));
    assert!(fixture.store.give_back(&too_many).await.is_err());
    let fewer = fixture.a_return(bought.id, &[(product, 3)], Some("more"));
    let given = fixture.store.give_back(&fewer).await.unwrap().unwrap();
    assert_eq!(given.order.status, OrderStatus::Cancelled);
    fixture.books_balance().await;
}

/// An order that was bought with a key is answered as it was then.
pub(super) async fn what_came_back_does_not_change_a_replay(fixture: &Fixture) {
    let product = fixture.product("p", 9).await.id;
    let key = IdempotencyKey::new(Uuid::nil(), "buy").unwrap();
    let keyed = || crate::domain::NewOrder {
        key: Some(key.clone()),
        ..fixture.order(&[(product, 5)])
    };
    let bought = fixture.store.purchase(&[keyed()], Strategy::Batch).await;
    let bought = bought.unwrap().results.remove(0).unwrap();
    fixture.give_back(bought.id, &[(product, 2)]).await.unwrap();
    for strategy in Strategy::ALL {
        let again = fixture.store.purchase(&[keyed()], strategy).await.unwrap();
        assert_eq!(again.results[0].as_ref().unwrap(), &bought, "{strategy}");
    }
    assert_eq!(fixture.stock(product).await, 6);
}

/// However many try at once: no piece comes back twice, and none is lost.
pub(super) async fn each_piece_comes_back_once(fixture: &Fixture) {
    let product = fixture.product("p", 100).await.id;
    for strategy in Strategy::ALL {
        let order = fixture.order(&[(product, 4), (product, 6)]);
        let id = order.id;
        let bought = fixture.store.purchase(&[order], strategy).await.unwrap();
        assert!(bought.results[0].is_ok(), "{strategy}");
        let given = at_once(|_| {
            let store = Arc::clone(&fixture.store);
            let returned = fixture.a_return(id, &[(product, 1)], None);
            async move { store.give_back(&returned).await }
        })
        .await;
        let ok = given.iter().filter(|given| given.is_ok()).count();
        assert_eq!(ok, 10, "{strategy}");
        let refused =
            |given: &Result<_, Error>| matches!(given, Ok(_) | Err(Error::Invalid { .. }));
        assert!(given.iter().all(refused), "{given:?}");
        let order = fixture.store.order(id).await.unwrap().unwrap();
        assert_eq!(order.status, OrderStatus::Cancelled);
        assert_eq!(fixture.stock(product).await, 100, "{strategy}");
        fixture.books_balance().await;
    }
}

/// Returns, cancellations, tasks and sales at once, over products named in every order.
pub(super) async fn returns_and_all_else_agree(fixture: &Fixture) {
    let (a, b) = (
        fixture.product("a", 500).await.id,
        fixture.product("b", 500).await.id,
    );
    let orders: Vec<_> = (0..24).map(|_| fixture.order(&[(a, 3), (b, 3)])).collect();
    let bought = fixture.store.purchase(&orders, Strategy::Batch).await;
    assert!(bought.unwrap().results.iter().all(Result::is_ok));
    at_once(|number| {
        let of = if number % 2 == 0 {
            [(a, 1), (b, 1)]
        } else {
            [(b, 1), (a, 1)]
        };
        let returns: Vec<_> = orders
            .iter()
            .map(|o| fixture.a_return(o.id, &of, None))
            .collect();
        let more = fixture.orders(4, &of);
        let (store, at) = (Arc::clone(&fixture.store), fixture.at);
        let tasks = fixture.tasks();
        async move {
            match number % 4 {
                0 => drop(super::races::do_tasks(&*tasks, number, at).await),
                1 => drop(
                    store
                        .purchase(&more, Strategy::ALL[number % 3])
                        .await
                        .unwrap(),
                ),
                _ => give_all(&*store, &returns, number, at).await,
            }
        }
    })
    .await;
    super::races::do_tasks(&*fixture.tasks(), TASKS, fixture.at).await;
    for order in &orders {
        let order = fixture.store.order(order.id).await.unwrap().unwrap();
        assert!(order.is_taken_back(), "{order:?}");
    }
    fixture.books_balance().await;
    assert_eq!((fixture.stock(a).await, fixture.stock(b).await), (484, 484));
}

async fn give_all(
    store: &dyn OrderStore,
    returns: &[OrderReturn],
    number: usize,
    at: DateTime<Utc>,
) {
    for returned in returns {
        let given = store.give_back(returned).await;
        assert!(
            matches!(given, Ok(_) | Err(Error::Invalid { .. })),
            "{given:?}"
        );
        if number % 4 == 2 {
            store.cancel(returned.order_id, at, None).await.unwrap();
        }
    }
}

pub(super) async fn a_completed_order_gives_back_and_stays_completed(fixture: &Fixture) {
    let product = fixture.product("p", 9).await.id;
    let id = fixture.completed(&[(product, 5)]).await;
    let order = fixture.give_back(id, &[(product, 2)]).await.unwrap();
    assert_eq!(
        (order.status, order.cancelled_at),
        (OrderStatus::Completed, None)
    );
    assert_eq!(order.total_price.to_string(), "7.50");
    assert_eq!(fixture.stock(product).await, 6);
    fixture.books_balance().await;
    for _ in 0..2 {
        let all = fixture
            .store
            .cancel(id, fixture.at, None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(all.order.status, OrderStatus::Completed);
        assert!(all.order.is_taken_back());
        assert_eq!(fixture.stock(product).await, 9);
    }
    assert_eq!(fixture.status(id).await, OrderStatus::Completed);
    fixture.books_balance().await;
    let undo = fixture.claim(9).await.remove(0);
    assert_eq!((undo.lease.order_id, undo.kind), (id, TaskKind::Compensate));
    let told = undo.order.clone().unwrap().cancelled_lines();
    assert_eq!(told, lines(&[(product, 5)]));
    assert_eq!(fixture.end(&undo, AttemptOutcome::Done).await, 0);
    assert_eq!(fixture.task(id).await, None);
    fixture.wait(999).await;
    assert_eq!(fixture.claim(9).await.len(), 0, "it was told once");
    fixture.books_balance().await;
}

/// Whoever may know the order without what came back is told, after its task is done.
pub(super) async fn what_came_back_is_told(fixture: &Fixture) {
    let product = fixture.product("p", 99).await.id;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(fixture.bought(&[(product, 5)]).await.id);
    }
    let [untouched, in_flight, delayed, dead] = ids[..] else {
        panic!("four were bought")
    };
    let back = async |id| fixture.give_back(id, &[(product, 1)]).await.unwrap();
    let claimed = fixture.claim(9).await;
    let lease = |id| claimed.iter().find(|c| c.lease.order_id == id).unwrap();
    let not_begun = AttemptOutcome::NotBegun;
    fixture.end(lease(untouched), not_begun).await;
    let later = AttemptOutcome::Retry(Duration::from_secs(60), "later".to_owned());
    fixture.end(lease(delayed), later).await;
    fixture
        .end(lease(dead), AttemptOutcome::Dead("never".to_owned()))
        .await;
    for id in ids.clone() {
        back(id).await;
        assert_eq!(fixture.task(id).await.unwrap().kind, TaskKind::Process);
    }
    assert_eq!(fixture.task(dead).await.unwrap().state, TaskState::Dead);

    // What nobody began knows of it by itself.
    let process = fixture.claim(9).await.remove(0);
    assert_eq!(process.lease.order_id, untouched);
    assert_eq!(
        process.order.as_ref().unwrap().cancelled_lines(),
        lines(&[(product, 1)])
    );
    assert_eq!(fixture.end(&process, AttemptOutcome::Done).await, 1);
    assert_eq!(fixture.task(untouched).await, None);

    // What was begun is done, and then is told.
    let told = async |id: OrderId, pieces| {
        let undo = fixture.claim(9).await.remove(0);
        assert_eq!((undo.lease.order_id, undo.kind), (id, TaskKind::Compensate));
        assert_eq!(undo.lease.attempts, 1);
        let told = undo.order.as_ref().unwrap().cancelled_lines();
        assert_eq!(told, lines(&[(product, pieces)]));
        undo
    };
    assert_eq!(fixture.end(lease(in_flight), AttemptOutcome::Done).await, 1);
    assert_eq!(fixture.status(in_flight).await, OrderStatus::Completed);
    let undo = told(in_flight, 1).await;
    // More comes back while that is told.
    back(in_flight).await;
    assert_eq!(fixture.end(&undo, AttemptOutcome::Done).await, 0);
    let undo = told(in_flight, 2).await;
    fixture.end(&undo, AttemptOutcome::Done).await;
    assert_eq!(fixture.task(in_flight).await, None);

    fixture.wait(61).await;
    let again = fixture.claim(9).await.remove(0);
    assert_eq!(
        (again.lease.order_id, again.kind),
        (delayed, TaskKind::Process)
    );
    assert_eq!(fixture.end(&again, AttemptOutcome::Done).await, 1);
    let undo = told(delayed, 1).await;
    fixture.end(&undo, AttemptOutcome::Done).await;

    fixture.store.cancel(dead, fixture.at, None).await.unwrap();
    let undo = told(dead, 5).await;
    fixture.end(&undo, AttemptOutcome::Done).await;
    assert_eq!(fixture.task(dead).await, None);
    fixture.books_balance().await;
}

pub(super) async fn a_return_is_entered_in_the_audit_log(fixture: &Fixture) {
    let product = fixture.product("p", 9).await.id;
    let id = fixture.bought(&[(product, 5)]).await.id;
    fixture.give_back(id, &[(product, 2)]).await.unwrap();
    fixture.give_back(id, &[(product, 9)]).await.unwrap_err();
    let query = AuditQuery {
        subject: Some(id.to_string()),
        ..AuditQuery::default()
    };
    let mut log = fixture.audit().audit_entries(&query).await.unwrap().items;
    let entry = log.remove(0);
    assert_eq!((log.len(), entry.action.as_str()), (0, "order.return"));
    let before = json!({"status": "success", "total_price": "12.50"});
    assert_eq!(entry.before, Some(before));
    let returned = json!([{"product_id": product, "quantity": 2}]);
    let after = json!({"status": "success", "total_price": "7.50", "returned": returned});
    assert_eq!(entry.after, Some(after));
}

/// Adjustments, sales and returns, page by page; together they are the stock.
pub(super) async fn the_history_of_stock_adds_up(fixture: &Fixture) {
    let (a, b) = (
        fixture.product("a", 20).await.id,
        fixture.product("b", 20).await.id,
    );
    let first = fixture.bought(&[(a, 2), (b, 1), (a, 3)]).await.id;
    let second = fixture.bought(&[(a, 4)]).await.id;
    let failed = fixture.order(&[(a, 99)]);
    fixture.store.accept(&[failed]).await.unwrap();
    let pick = crate::store::Selection::Oldest(9);
    let decided = fixture.store.decide(pick, Strategy::Batch, fixture.at);
    assert!(decided.await.unwrap().results[0].1.is_err());
    let request = StockRequest::new(5, Some("delivery".to_owned())).unwrap();
    let adjustment = request.into_adjustment(fixture.adjustment_id(), a, fixture.at);
    let author = Author {
        client: Some("till".into()),
        key: Some(KeyId(Uuid::max())),
    };
    let adjusted = by(author, fixture.store.adjust_stock(&adjustment)).await;
    adjusted.unwrap();
    fixture.give_back(first, &[(a, 4)]).await.unwrap();
    fixture.give_back(second, &[(a, 4)]).await.unwrap();
    let all = history(fixture, a, 100).await;
    assert_eq!(history(fixture, a, 2).await, all);
    let brief: Vec<_> = all.iter().map(|e| (e.kind, e.delta, e.order_id)).collect();
    let expected = [
        (StockEntryKind::Return, 4, Some(second)),
        (StockEntryKind::Return, 4, Some(first)),
        (StockEntryKind::Adjustment, 5, None),
        (StockEntryKind::Sale, -4, Some(second)),
        (StockEntryKind::Sale, -5, Some(first)),
        (StockEntryKind::Adjustment, 20, None),
    ];
    assert_eq!(brief, expected);
    assert!(all.iter().all(|entry| entry.at == fixture.at));
    assert_eq!(all[2].reason.as_deref(), Some("delivery"));
    assert_eq!(all[2].client.as_deref(), Some("till"));
    assert_eq!(all[2].key, Some(KeyId(Uuid::max())));
    let sum: i64 = all.iter().map(|entry| entry.delta).sum();
    assert_eq!(sum, fixture.stock(a).await);
}

/// All of the history of a product's stock, in pages of this size.
pub(super) async fn history(fixture: &Fixture, product: ProductId, size: u32) -> Vec<StockEntry> {
    let (mut all, mut start) = (Vec::new(), PageStart::First);
    loop {
        let size = PageSize::new(size).unwrap();
        let page = PageRequest { size, start };
        let page = fixture.store.stock_history(product, &page).await.unwrap();
        all.extend(page.items);
        match page.next {
            Some(id) => start = PageStart::After(id),
            None => return all,
        }
    }
}
