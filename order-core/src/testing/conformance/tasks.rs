//! What a store must do with tasks.

use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::Bench;
use crate::{
    Error,
    domain::{NewOrder, OrderId, OrderRequest, OrderStatus, Quantity},
    process::{Claim, Claimed, Ending, TaskKind, TaskState, TaskStatus},
    queue::Topic,
    store::{Selection, Strategy},
};

const LEASE: Duration = Duration::from_secs(30);
const LATER: Duration = Duration::from_secs(999);

impl Bench {
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
            delay,
            lease: LEASE,
        };
        self.store.claim_tasks(&claim).await.unwrap()
    }

    pub(super) async fn end(&self, claimed: &Claimed, ending: Ending) -> u64 {
        let ended = claimed.ended(Uuid::max(), Duration::from_secs(1), ending);
        self.store.end_tasks(&[ended], self.at).await.unwrap()
    }

    pub(super) async fn task(&self, id: OrderId) -> Option<TaskStatus> {
        let history = self.store.task_history(id).await.unwrap();
        history.unwrap().task
    }

    pub(super) async fn errors(&self, id: OrderId) -> Vec<(u32, String)> {
        let history = self.store.task_history(id).await.unwrap();
        let attempts = history.unwrap().attempts.into_iter();
        attempts.map(|a| (a.attempt, a.error)).collect()
    }

    pub(super) async fn status(&self, id: OrderId) -> OrderStatus {
        self.store.order(id).await.unwrap().unwrap().status
    }
}

pub(super) async fn every_sale_has_its_task_however_it_was_sold(bench: &Bench) {
    let product = bench.product("p", 5).await;
    let mut expected = Vec::new();
    for strategy in Strategy::ALL {
        let orders = bench.orders(2, &[(product.id, 1)]);
        bench.store.accept(&orders[..1]).await.unwrap();
        let decided = bench
            .store
            .decide(Selection::Oldest(9), strategy, bench.at)
            .await;
        let decided = decided.unwrap().results.remove(0);
        if decided.1.is_ok() {
            expected.push(decided.0);
        }
        let bought = bench.store.purchase(&orders[1..], strategy).await.unwrap();
        expected.extend(bought.results.into_iter().flatten().map(|order| order.id));
    }
    assert_eq!(expected.len(), 5, "one of six found nothing left");
    let claimed = bench.claim(100).await;
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
pub(super) async fn a_task_that_is_there_already_is_kept(bench: &Bench) {
    let product = bench.product("p", 5).await;
    let orders = bench.orders(2, &[(product.id, 1)]);
    bench.store.accept(&orders).await.unwrap();
    let queue = bench.store.queue();
    let early = [orders[0].id()];
    queue.push(Topic::Process, &early).await.unwrap();
    let pick = Selection::Oldest(9);
    let decided = bench.store.decide(pick, Strategy::Batch, bench.at).await;
    assert!(decided.unwrap().results.iter().all(|(_, d)| d.is_ok()));
    assert_eq!(bench.claim(9).await.len(), 2);
}

pub(super) async fn an_order_is_in_the_trace_of_its_request(bench: &Bench) {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let parent = Some(trace.parse().unwrap());
    let product = bench.product("p", 9).await.id;
    let order = |parent| {
        let one = OrderRequest::one(product, Quantity::new(1).unwrap()).in_trace(parent);
        one.stamp(OrderId(bench.ids.next(bench.at)), bench.at)
    };
    let orders = [order(parent), order(None), order(parent), order(None)];
    bench.store.accept(&orders[..2]).await.unwrap();
    let pick = Selection::Oldest(2);
    let decided = bench.store.decide(pick, Strategy::Batch, bench.at).await;
    assert_eq!(decided.unwrap().results.len(), 2);
    let sold = bench.store.purchase(&orders[2..], Strategy::Batch).await;
    assert!(sold.unwrap().results.iter().all(Result::is_ok));
    for claimed in bench.claim(9).await {
        let order = claimed.order.unwrap();
        let placed = orders.iter().find(|placed| placed.id == order.id).unwrap();
        assert_eq!(order.trace_parent, placed.trace_parent);
    }
}

pub(super) async fn a_task_that_is_done_completes_its_order_once(bench: &Bench) {
    let id = bench.sold(1).await[0];
    let claimed = bench.claim(9).await.remove(0);
    assert_eq!(bench.claim(9).await.len(), 0, "it is claimed");
    assert_eq!(bench.task(id).await.unwrap().state, TaskState::InFlight);
    assert_eq!(bench.end(&claimed, Ending::Done).await, 1);
    let order = bench.store.order(id).await.unwrap().unwrap();
    assert_eq!(
        (order.status, order.completed_at),
        (OrderStatus::Completed, Some(bench.at))
    );
    assert_eq!(bench.task(id).await, None);
    let again = bench.end(&claimed, Ending::Done).await;
    assert_eq!(again, 0, "it is completed once");
    let cancelled = bench.store.cancel(id, bench.at, None).await;
    assert!(matches!(cancelled, Err(Error::OrderState { .. })));
    bench.wait(999).await;
    assert_eq!(bench.claim(9).await.len(), 0);
    bench.books_balance().await;
}

/// So that it can still be cancelled: from its sale on, whatever time the seller says.
pub(super) async fn a_task_waits_out_its_delay(bench: &Bench) {
    let delay = Duration::from_secs(60);
    let id = bench.sold(1).await[0];
    let early = bench.claim_after(delay, 9).await;
    assert_eq!(early.len(), 0);
    assert_eq!(bench.claim_after(Duration::MAX, 9).await.len(), 0);
    bench.wait(55).await;
    assert_eq!(bench.claim_after(delay, 9).await.len(), 0);
    bench.wait(6).await;
    let due = bench.claim_after(delay, 9).await;
    assert_eq!(due[0].lease.order_id, id);
}

pub(super) async fn a_failed_attempt_is_kept_and_made_again(bench: &Bench) {
    let id = bench.sold(1).await[0];
    let claimed = bench.claim(9).await.remove(0);
    let long = "x\0".repeat(9_999);
    let retry = Ending::Retry(Duration::from_secs(60), "no answer".to_owned());
    assert_eq!(bench.end(&claimed, retry).await, 0);
    assert_eq!(bench.task(id).await.unwrap().state, TaskState::Delayed);
    bench.wait(55).await;
    assert_eq!(bench.claim(9).await.len(), 0);
    bench.wait(6).await;
    let claimed = bench.claim(9).await.remove(0);
    assert_eq!((claimed.lease.attempts, claimed.run), (2, 2));
    bench.end(&claimed, Ending::Dead(long)).await;
    assert_eq!(bench.task(id).await.unwrap().state, TaskState::Dead);
    let history = bench.store.task_history(id).await.unwrap().unwrap();
    assert_eq!(history.attempts[0].took(), Duration::from_secs(1));
    let errors = bench.errors(id).await;
    assert_eq!(errors[0], (1, "no answer".to_owned()));
    assert_eq!(errors[1].0, 2);
    assert_eq!(bench.status(id).await, OrderStatus::Success);

    let queue = bench.store.queue();
    let stats = queue.stats(Topic::Process).await.unwrap();
    assert_eq!((stats.dead, stats.waiting, stats.capped), (1, 0, false));
    assert_eq!(queue.dead(Topic::Process, 9).await.unwrap()[0].order_id, id);
    assert_eq!(queue.redrive(Topic::Process, &[id]).await.unwrap(), 1);
    let claimed = bench.claim(9).await.remove(0);
    assert_eq!(
        (claimed.lease.attempts, claimed.run),
        (1, 3),
        "attempts begin anew"
    );
    assert_eq!(bench.end(&claimed, Ending::Done).await, 1);
    assert_eq!(
        bench.errors(id).await.len(),
        2,
        "what went wrong is remembered"
    );
}

/// Those that failed before have no precedence over new ones, nor have new ones over them. Each
/// is sold by a server whose clock is behind those of the ones before.
pub(super) async fn tasks_are_claimed_in_the_order_in_which_they_are_due(bench: &Bench) {
    let first = bench.sold(2).await;
    let claimed = bench.claim(9).await;
    for (claimed, seconds) in claimed.iter().zip([1_000, 3_000]) {
        let retry = Ending::Retry(Duration::from_secs(seconds), "no answer".to_owned());
        bench.end(claimed, retry).await;
    }
    let product = bench.product("q", 9).await.id;
    let mut expected = vec![first[0], first[1]];
    for (at, number) in [(0, 1), (2, 2), (4, 3)] {
        bench.wait(if number == 1 { 500 } else { 1_500 }).await;
        let one = OrderRequest::one(product, Quantity::new(1).unwrap());
        let sold_at = bench.at - TimeDelta::days(number);
        let order = one.stamp(OrderId(bench.ids.next(sold_at)), sold_at);
        expected.insert(at, order.id());
        let sold = bench.store.purchase(&[order], Strategy::Batch).await;
        assert!(sold.unwrap().results[0].is_ok());
    }
    for expected in expected {
        let claimed = bench.claim(1).await;
        assert_eq!(claimed[0].lease.order_id, expected);
    }
}

pub(super) async fn a_lease_that_ran_out_is_a_failed_attempt(bench: &Bench) {
    let id = bench.sold(1).await[0];
    let lost = bench.claim(9).await.remove(0);
    bench.wait(25).await;
    assert_eq!(bench.claim(9).await.len(), 0);
    bench.wait(6).await;
    let taken_over = bench.claim(9).await.remove(0);
    assert_eq!(taken_over.lease.attempts, 2);
    let history = bench.store.task_history(id).await.unwrap().unwrap();
    let lapsed = &history.attempts[0];
    assert!(lapsed.error.contains("lease ran out"), "{lapsed:?}");
    assert_eq!(lapsed.took(), LEASE);
    assert_eq!((lapsed.attempt, lapsed.worker_id), (1, Some(Uuid::max())));

    // Whoever lost it changes nothing about the task.
    let late = Ending::Retry(Duration::from_secs(1), "late".to_owned());
    bench.end(&lost, late).await;
    let task = bench.task(id).await.unwrap();
    assert_eq!((task.state, task.attempts), (TaskState::InFlight, 2));
    assert_eq!(bench.errors(id).await.len(), 1, "an attempt has one end");

    bench.wait(99).await;
    let third = bench.claim(9).await.remove(0);
    let exhausted = Ending::Exhausted("too often".to_owned());
    bench.end(&third, exhausted).await;
    let task = bench.task(id).await.unwrap();
    assert_eq!((task.state, task.attempts), (TaskState::Dead, 2));
    assert_eq!(bench.errors(id).await.len(), 2, "the third was not made");
}

pub(super) async fn cancelling_takes_the_task_or_turns_it(bench: &Bench) {
    let (ids, at) = (bench.sold(5).await, bench.at);
    let [untouched, delayed, dead, in_flight, lapsed] = ids[..] else {
        panic!("five were sold")
    };
    bench.store.cancel(untouched, at, None).await.unwrap();
    let task = bench.task(untouched).await;
    assert_eq!(task, None, "nothing is to be undone");

    let claimed = bench.claim(9).await;
    assert_eq!(claimed.len(), 4);
    let lease = |id| claimed.iter().find(|c| c.lease.order_id == id).unwrap();
    let retry = Ending::Retry(LATER, "later".to_owned());
    bench.end(lease(delayed), retry).await;
    bench
        .end(lease(dead), Ending::Dead("never".to_owned()))
        .await;
    for id in [delayed, dead, in_flight, lapsed] {
        bench.store.cancel(id, at, None).await.unwrap();
        assert_eq!(bench.task(id).await.unwrap().kind, TaskKind::Compensate);
    }

    // What nobody is at is undone at once.
    let undo = bench.claim(9).await;
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
    let again = Ending::Retry(Duration::from_secs(2), "not undone".to_owned());
    bench.end(&undo[0], again).await;
    bench.end(&undo[1], Ending::Done).await;
    assert_eq!(bench.task(dead).await, None);
    bench.wait(3).await;
    assert_eq!(bench.claim(9).await[0].lease.attempts, 2);

    // An attempt that is under way ends, and then is undone, however it ended.
    assert_eq!(bench.end(lease(in_flight), Ending::Done).await, 0);
    let undo = bench.claim(9).await.remove(0);
    assert_eq!(
        (undo.lease.order_id, undo.kind),
        (in_flight, TaskKind::Compensate)
    );
    bench.end(&undo, Ending::Done).await;
    assert_eq!(bench.task(in_flight).await, None);
    assert_eq!(bench.status(in_flight).await, OrderStatus::Cancelled);

    bench.wait(31).await;
    let taken_over = bench.claim(1).await.remove(0);
    assert_eq!(
        (taken_over.lease.order_id, taken_over.lease.attempts),
        (lapsed, 1)
    );
    assert_eq!(taken_over.kind, TaskKind::Compensate);
    bench.books_balance().await;
}
