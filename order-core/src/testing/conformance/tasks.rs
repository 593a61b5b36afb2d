//! Checks of post-sale tasks.

use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::fixture::Fixture;
use crate::{
    domain::{NewOrder, OrderId, OrderRequest, OrderStatus, Quantity},
    process::{AttemptOutcome, Claim, Claimed, TaskKind, TaskState, TaskStatus},
    queue::{DeadQuery, Topic},
    store::{Selection, Strategy},
};

pub(super) const LEASE: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_secs(999);

impl Fixture {
    /// Orders of one piece each, sold at once.
    pub(super) async fn sold(&self, count: usize) -> Vec<OrderId> {
        let product = self.product("p", 100).await;
        let orders = self.orders(count, &[(product.id, 1)]);
        let outcome = self.store.purchase(&orders, Strategy::Batch).await;
        assert!(outcome.unwrap().results.iter().all(Result::is_ok));
        orders.iter().map(NewOrder::id).collect()
    }

    pub(super) async fn claim(&self, max: usize) -> Vec<Claimed> {
        self.claim_after(Duration::ZERO, max).await
    }

    /// Claims what has been due for `delay`.
    pub(super) async fn claim_after(&self, delay: Duration, max: usize) -> Vec<Claimed> {
        let claim = Claim {
            id: self.ids.next(self.at),
            worker_id: Uuid::max(),
            max,
            ahead: 0,
            delay,
            lease: LEASE,
        };
        self.tasks().claim_tasks(&claim).await.unwrap()
    }

    pub(super) async fn end(&self, claimed: &Claimed, outcome: AttemptOutcome) -> u64 {
        let ended = claimed.result(Uuid::max(), Duration::from_secs(1), outcome);
        self.tasks().end_tasks(&[ended], self.at).await.unwrap()
    }

    pub(super) async fn task(&self, id: OrderId) -> Option<TaskStatus> {
        let history = self.tasks().task_history(id).await.unwrap();
        history.unwrap().task
    }

    pub(super) async fn errors(&self, id: OrderId) -> Vec<(u32, String)> {
        let history = self.tasks().task_history(id).await.unwrap();
        let attempts = history.unwrap().attempts.into_iter();
        attempts.map(|a| (a.attempt, a.error)).collect()
    }

    pub(super) async fn status(&self, id: OrderId) -> OrderStatus {
        self.store.order(id).await.unwrap().unwrap().status
    }
}

pub(super) async fn every_sale_has_its_task_however_it_was_sold(fixture: &Fixture) {
    let product = fixture.product("p", 5).await;
    let mut expected = Vec::new();
    for strategy in Strategy::ALL {
        let orders = fixture.orders(2, &[(product.id, 1)]);
        fixture.store.accept(&orders[..1]).await.unwrap();
        let decided = fixture
            .store
            .decide(Selection::Oldest(9), strategy, fixture.at)
            .await;
        let decided = decided.unwrap().results.remove(0);
        if decided.1.is_ok() {
            expected.push(decided.0);
        }
        let bought = fixture
            .store
            .purchase(&orders[1..], strategy)
            .await
            .unwrap();
        expected.extend(bought.results.into_iter().flatten().map(|order| order.id));
    }
    assert_eq!(expected.len(), 5, "one of six found nothing left");
    let claimed = fixture.claim(100).await;
    let mut ids: Vec<OrderId> = claimed
        .iter()
        .map(|claimed| claimed.lease.order_id)
        .collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    for claimed in claimed {
        let order = claimed.order.unwrap();
        assert_eq!((order.id, order.lines.len()), (claimed.lease.order_id, 1));
        assert_eq!(
            (claimed.kind, claimed.lease.attempts),
            (TaskKind::Process, 1)
        );
    }
}

/// Whoever offers an order on the topic before it is sold does not keep it from being sold.
pub(super) async fn a_task_that_is_there_already_is_kept(fixture: &Fixture) {
    let product = fixture.product("p", 5).await;
    let orders = fixture.orders(2, &[(product.id, 1)]);
    fixture.store.accept(&orders).await.unwrap();
    let queue = fixture.queue();
    let early = [orders[0].id()];
    queue.push(Topic::Process, &early).await.unwrap();
    let pick = Selection::Oldest(9);
    let decided = fixture
        .store
        .decide(pick, Strategy::Batch, fixture.at)
        .await;
    assert!(decided.unwrap().results.iter().all(|(_, d)| d.is_ok()));
    assert_eq!(fixture.claim(9).await.len(), 2);
}

pub(super) async fn an_order_is_in_the_trace_of_its_request(fixture: &Fixture) {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let parent = Some(trace.parse().unwrap());
    let product = fixture.product("p", 9).await.id;
    let order = |parent| {
        let one = OrderRequest::one(product, Quantity::new(1).unwrap()).in_trace(parent);
        one.into_new_order(OrderId(fixture.ids.next(fixture.at)), fixture.at)
    };
    let orders = [order(parent), order(None), order(parent), order(None)];
    fixture.store.accept(&orders[..2]).await.unwrap();
    let pick = Selection::Oldest(2);
    let decided = fixture
        .store
        .decide(pick, Strategy::Batch, fixture.at)
        .await;
    assert_eq!(decided.unwrap().results.len(), 2);
    let sold = fixture.store.purchase(&orders[2..], Strategy::Batch).await;
    assert!(sold.unwrap().results.iter().all(Result::is_ok));
    for claimed in fixture.claim(9).await {
        let order = claimed.order.unwrap();
        let placed = orders.iter().find(|placed| placed.id == order.id).unwrap();
        assert_eq!(order.trace_parent, placed.trace_parent);
    }
}

pub(super) async fn a_task_that_is_done_completes_its_order_once(fixture: &Fixture) {
    let id = fixture.sold(1).await[0];
    let claimed = fixture.claim(9).await.remove(0);
    assert_eq!(fixture.claim(9).await.len(), 0, "it is claimed");
    assert_eq!(fixture.task(id).await.unwrap().state, TaskState::InFlight);
    assert_eq!(fixture.end(&claimed, AttemptOutcome::Done).await, 1);
    let order = fixture.store.order(id).await.unwrap().unwrap();
    assert_eq!(
        (order.status, order.completed_at),
        (OrderStatus::Completed, Some(fixture.at))
    );
    assert_eq!(fixture.task(id).await, None);
    let again = fixture.end(&claimed, AttemptOutcome::Done).await;
    assert_eq!(again, 0, "it is completed once");
    fixture.wait(999).await;
    assert_eq!(fixture.claim(9).await.len(), 0);
    // It stays completed when all of it comes back.
    let cancelled = fixture.store.cancel(id, fixture.at, None).await.unwrap();
    assert_eq!(cancelled.unwrap().order.status, OrderStatus::Completed);
    assert_eq!(fixture.status(id).await, OrderStatus::Completed);
    assert_eq!(fixture.end(&claimed, AttemptOutcome::Done).await, 0);
    fixture.books_balance().await;
}

/// So that it can still be cancelled: from its sale on, whatever time the seller says.
pub(super) async fn a_task_waits_out_its_delay(fixture: &Fixture) {
    let delay = Duration::from_secs(60);
    let id = fixture.sold(1).await[0];
    let early = fixture.claim_after(delay, 9).await;
    assert_eq!(early.len(), 0);
    assert_eq!(fixture.claim_after(Duration::MAX, 9).await.len(), 0);
    fixture.wait(55).await;
    assert_eq!(fixture.claim_after(delay, 9).await.len(), 0);
    fixture.wait(6).await;
    let due = fixture.claim_after(delay, 9).await;
    assert_eq!(due[0].lease.order_id, id);
}

pub(super) async fn a_failed_attempt_is_kept_and_made_again(fixture: &Fixture) {
    let id = fixture.sold(1).await[0];
    let claimed = fixture.claim(9).await.remove(0);
    let long = "x\0".repeat(9_999);
    let retry = AttemptOutcome::Retry(Duration::from_secs(60), "no answer".to_owned());
    assert_eq!(fixture.end(&claimed, retry).await, 0);
    assert_eq!(fixture.task(id).await.unwrap().state, TaskState::Retrying);
    fixture.wait(55).await;
    assert_eq!(fixture.claim(9).await.len(), 0);
    fixture.wait(6).await;
    let claimed = fixture.claim(9).await.remove(0);
    assert_eq!((claimed.lease.attempts, claimed.run), (2, 2));
    fixture.end(&claimed, AttemptOutcome::Dead(long)).await;
    assert_eq!(fixture.task(id).await.unwrap().state, TaskState::Dead);
    let history = fixture.tasks().task_history(id).await.unwrap().unwrap();
    assert_eq!(history.attempts[0].took(), Duration::from_secs(1));
    let errors = fixture.errors(id).await;
    assert_eq!(errors[0], (1, "no answer".to_owned()));
    assert_eq!(errors[1].0, 2);
    assert_eq!(fixture.status(id).await, OrderStatus::Success);

    let queue = fixture.queue();
    let stats = queue.stats(Topic::Process).await.unwrap();
    assert_eq!((stats.dead, stats.waiting, stats.capped), (1, 0, false));
    assert_eq!(
        queue
            .dead(Topic::Process, &DeadQuery::latest(9))
            .await
            .unwrap()[0]
            .order_id,
        id
    );
    assert_eq!(queue.redrive(Topic::Process, &[id]).await.unwrap(), 1);
    let claimed = fixture.claim(9).await.remove(0);
    assert_eq!(
        (claimed.lease.attempts, claimed.run),
        (1, 3),
        "attempts begin anew"
    );
    assert_eq!(fixture.end(&claimed, AttemptOutcome::Done).await, 1);
    assert_eq!(
        fixture.errors(id).await.len(),
        2,
        "what went wrong is remembered"
    );
}

/// Those that failed before have no precedence over new ones, nor have new ones over them. Each
/// is sold by a server whose clock is behind those of the ones before.
pub(super) async fn tasks_are_claimed_in_the_order_in_which_they_are_due(fixture: &Fixture) {
    let first = fixture.sold(2).await;
    let claimed = fixture.claim(9).await;
    for (claimed, seconds) in claimed.iter().zip([1_000, 3_000]) {
        let retry = AttemptOutcome::Retry(Duration::from_secs(seconds), "no answer".to_owned());
        fixture.end(claimed, retry).await;
    }
    let product = fixture.product("q", 9).await.id;
    let mut expected = vec![first[0], first[1]];
    for (at, number) in [(0, 1), (2, 2), (4, 3)] {
        fixture.wait(if number == 1 { 500 } else { 1_500 }).await;
        let one = OrderRequest::one(product, Quantity::new(1).unwrap());
        let sold_at = fixture.at - TimeDelta::days(number);
        let order = one.into_new_order(OrderId(fixture.ids.next(sold_at)), sold_at);
        expected.insert(at, order.id());
        let sold = fixture.store.purchase(&[order], Strategy::Batch).await;
        assert!(sold.unwrap().results[0].is_ok());
    }
    for expected in expected {
        let claimed = fixture.claim(1).await;
        assert_eq!(claimed[0].lease.order_id, expected);
    }
}

pub(super) async fn a_lease_that_ran_out_is_a_failed_attempt(fixture: &Fixture) {
    let id = fixture.sold(1).await[0];
    let lost = fixture.claim(9).await.remove(0);
    fixture.wait(25).await;
    assert_eq!(fixture.claim(9).await.len(), 0);
    fixture.wait(6).await;
    let taken_over = fixture.claim(9).await.remove(0);
    assert_eq!(taken_over.lease.attempts, 2);
    let history = fixture.tasks().task_history(id).await.unwrap().unwrap();
    let lapsed = &history.attempts[0];
    assert!(lapsed.error.contains("lease ran out"), "{lapsed:?}");
    assert_eq!(lapsed.took(), LEASE);
    assert_eq!((lapsed.attempt, lapsed.worker_id), (1, Some(Uuid::max())));

    // Whoever lost it changes nothing about the task.
    let late = AttemptOutcome::Retry(Duration::from_secs(1), "late".to_owned());
    fixture.end(&lost, late).await;
    let task = fixture.task(id).await.unwrap();
    assert_eq!((task.state, task.attempts), (TaskState::InFlight, 2));
    assert_eq!(fixture.errors(id).await.len(), 1, "an attempt has one end");

    fixture.wait(99).await;
    let third = fixture.claim(9).await.remove(0);
    let exhausted = AttemptOutcome::Exhausted("too often".to_owned());
    fixture.end(&third, exhausted).await;
    let task = fixture.task(id).await.unwrap();
    assert_eq!((task.state, task.attempts), (TaskState::Dead, 2));
    assert_eq!(fixture.errors(id).await.len(), 2, "the third was not made");
}

pub(super) async fn cancelling_takes_the_task_or_turns_it(fixture: &Fixture) {
    let (ids, at) = (fixture.sold(5).await, fixture.at);
    let [untouched, delayed, dead, in_flight, lapsed] = ids[..] else {
        panic!("five were sold")
    };
    fixture.store.cancel(untouched, at, None).await.unwrap();
    let task = fixture.task(untouched).await;
    assert_eq!(task, None, "nothing is to be undone");

    let claimed = fixture.claim(9).await;
    assert_eq!(claimed.len(), 4);
    let lease = |id| claimed.iter().find(|c| c.lease.order_id == id).unwrap();
    let retry = AttemptOutcome::Retry(LATER, "later".to_owned());
    fixture.end(lease(delayed), retry).await;
    fixture
        .end(lease(dead), AttemptOutcome::Dead("never".to_owned()))
        .await;
    for id in [delayed, dead, in_flight, lapsed] {
        fixture.store.cancel(id, at, None).await.unwrap();
        assert_eq!(fixture.task(id).await.unwrap().kind, TaskKind::Compensate);
    }

    // What nobody is at is undone at once.
    let undo = fixture.claim(9).await;
    let undone: Vec<OrderId> = undo.iter().map(|c| c.lease.order_id).collect();
    assert_eq!(undone, [delayed, dead]);
    for claimed in &undo {
        assert_eq!(
            (claimed.kind, claimed.lease.attempts),
            (TaskKind::Compensate, 1)
        );
        assert_eq!(
            claimed.order.as_ref().unwrap().status,
            OrderStatus::Cancelled
        );
    }
    let again = AttemptOutcome::Retry(Duration::from_secs(2), "not undone".to_owned());
    fixture.end(&undo[0], again).await;
    fixture.end(&undo[1], AttemptOutcome::Done).await;
    assert_eq!(fixture.task(dead).await, None);
    fixture.wait(3).await;
    assert_eq!(fixture.claim(9).await[0].lease.attempts, 2);

    // An attempt that is under way ends, and then is undone, however it ended.
    assert_eq!(fixture.end(lease(in_flight), AttemptOutcome::Done).await, 0);
    let undo = fixture.claim(9).await.remove(0);
    assert_eq!(
        (undo.lease.order_id, undo.kind),
        (in_flight, TaskKind::Compensate)
    );
    fixture.end(&undo, AttemptOutcome::Done).await;
    assert_eq!(fixture.task(in_flight).await, None);
    assert_eq!(fixture.status(in_flight).await, OrderStatus::Cancelled);

    fixture.wait(31).await;
    let taken_over = fixture.claim(1).await.remove(0);
    assert_eq!(
        (taken_over.lease.order_id, taken_over.lease.attempts),
        (lapsed, 1)
    );
    assert_eq!(taken_over.kind, TaskKind::Compensate);
    fixture.books_balance().await;
}
