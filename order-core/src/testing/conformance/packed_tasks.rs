//! Checks of tasks that were sold together, and so may be claimed as they are packed: each of them
//! ends by itself all the same.

use std::time::Duration;

use uuid::Uuid;

use super::{fixture::Fixture, tasks::LEASE};
use crate::{
    domain::{OrderId, OrderStatus},
    process::{AttemptOutcome, AttemptResult, Claim, Claimed, TaskKind, TaskState},
    queue::Topic,
};

impl Fixture {
    /// Ends attempts together, each in its way; gives the number of orders that they completed.
    async fn end_all(&self, ended: &[(&Claimed, AttemptOutcome)]) -> u64 {
        let result = |(claimed, outcome): &(&Claimed, AttemptOutcome)| {
            claimed.result(Uuid::max(), Duration::from_secs(1), outcome.clone())
        };
        let ended: Vec<AttemptResult> = ended.iter().map(result).collect();
        self.tasks().end_tasks(&ended, self.at).await.unwrap()
    }

    /// The number of tasks that wait, are in flight, wait for their retry, and are dead.
    async fn counted(&self) -> [u64; 4] {
        let stats = self.queue().stats(Topic::Process).await.unwrap();
        [stats.waiting, stats.in_flight, stats.delayed, stats.dead]
    }

    async fn state(&self, id: OrderId) -> Option<(TaskState, u32)> {
        let task = self.task(id).await;
        task.map(|task| (task.state, task.attempts))
    }
}

fn done(claimed: &Claimed) -> (&Claimed, AttemptOutcome) {
    (claimed, AttemptOutcome::Done)
}

pub(super) async fn tasks_that_were_sold_together_end_by_themselves(fixture: &Fixture) {
    let ids = fixture.sold(6).await;
    let claimed = fixture.claim(9).await;
    let held: Vec<OrderId> = claimed.iter().map(|c| c.lease.order_id).collect();
    assert_eq!(held, ids);
    for claimed in &claimed {
        let id = claimed.lease.order_id;
        assert_eq!((claimed.lease.attempts, claimed.run), (1, 1));
        assert_eq!(fixture.state(id).await, Some((TaskState::InFlight, 1)));
    }
    assert_eq!(fixture.counted().await, [0, 6, 0, 0]);

    let some = [done(&claimed[1]), done(&claimed[4])];
    assert_eq!(fixture.end_all(&some).await, 2);
    assert_eq!(fixture.counted().await, [0, 4, 0, 0]);
    assert_eq!(fixture.end_all(&some).await, 0, "they ended once");
    assert_eq!(fixture.counted().await, [0, 4, 0, 0]);

    let retry = AttemptOutcome::Retry(Duration::from_secs(60), "no answer".to_owned());
    let dead = AttemptOutcome::Dead("never".to_owned());
    let all = [done(&claimed[0]), (&claimed[2], retry), (&claimed[3], dead)];
    assert_eq!(fixture.end_all(&all).await, 1);
    assert_eq!(fixture.counted().await, [0, 1, 1, 1]);
    assert_eq!(fixture.state(ids[0]).await, None);
    let (delayed, dead) = (TaskState::Retrying, TaskState::Dead);
    assert_eq!(fixture.state(ids[2]).await, Some((delayed, 1)));
    assert_eq!(fixture.state(ids[3]).await, Some((dead, 1)));
    assert_eq!(fixture.errors(ids[2]).await, [(1, "no answer".to_owned())]);
    assert_eq!(fixture.errors(ids[3]).await, [(1, "never".to_owned())]);
    assert_eq!(fixture.status(ids[2]).await, OrderStatus::Success);

    assert_eq!(fixture.end_all(&[done(&claimed[5])]).await, 1);
    assert_eq!(fixture.counted().await, [0, 0, 1, 1]);
    fixture.wait(61).await;
    let again = fixture.claim(9).await.remove(0);
    assert_eq!((again.lease.order_id, again.run), (ids[2], 2));
    assert_eq!(fixture.end_all(&[done(&again)]).await, 1);
    assert_eq!(fixture.counted().await, [0, 0, 0, 1]);
    fixture.books_balance().await;
}

/// Some of them are done by then, and some are done late by whoever lost the lease.
pub(super) async fn a_lease_of_many_runs_out_for_each(fixture: &Fixture) {
    let ids = fixture.sold(4).await;
    let lost = fixture.claim(9).await;
    assert_eq!(fixture.end_all(&[done(&lost[0])]).await, 1);
    fixture.wait(31).await;
    assert_eq!(fixture.counted().await, [3, 0, 0, 0]);
    assert_eq!(
        fixture.end_all(&[done(&lost[1])]).await,
        1,
        "late, and nobody else's"
    );
    let taken_over = fixture.claim(9).await;
    let held: Vec<OrderId> = taken_over.iter().map(|c| c.lease.order_id).collect();
    assert_eq!(held, ids[2..]);
    for claimed in &taken_over {
        assert_eq!((claimed.lease.attempts, claimed.run), (2, 2));
        let tasks = fixture.tasks();
        let history = tasks.task_history(claimed.lease.order_id).await;
        let lapsed = &history.unwrap().unwrap().attempts[0];
        assert!(lapsed.error.contains("lease ran out"), "{lapsed:?}");
        assert_eq!((lapsed.attempt, lapsed.took()), (1, LEASE));
        assert_eq!(lapsed.worker_id, Some(Uuid::max()));
    }

    // Whoever lost them changes no task, but what was done is done.
    let retry = AttemptOutcome::Retry(Duration::from_secs(999), "late".to_owned());
    assert_eq!(
        fixture.end_all(&[done(&lost[2]), (&lost[3], retry)]).await,
        1
    );
    assert_eq!(fixture.counted().await, [0, 2, 0, 0]);
    assert_eq!(fixture.status(ids[2]).await, OrderStatus::Completed);
    let all = [done(&taken_over[0]), done(&taken_over[1])];
    assert_eq!(fixture.end_all(&all).await, 1);
    assert_eq!(fixture.counted().await, [0, 0, 0, 0]);
}

/// What cannot begin is as if it had not been claimed.
pub(super) async fn a_task_that_was_not_begun_is_due_again(fixture: &Fixture) {
    let ids = fixture.sold(4).await;
    let claimed = fixture.claim(9).await;
    fixture
        .store
        .cancel(ids[3], fixture.at, None)
        .await
        .unwrap();
    let not_begun = |n: usize| (&claimed[n], AttemptOutcome::NotBegun);
    let ended = [done(&claimed[0]), not_begun(1), not_begun(2), not_begun(3)];
    assert_eq!(fixture.end_all(&ended).await, 1);
    assert_eq!(fixture.counted().await, [3, 0, 0, 0]);
    for id in &ids[1..] {
        assert_eq!(fixture.state(*id).await, Some((TaskState::Waiting, 0)));
        assert_eq!(fixture.errors(*id).await, [], "no attempt was made");
    }
    fixture
        .store
        .cancel(ids[1], fixture.at, None)
        .await
        .unwrap();
    assert_eq!(fixture.task(ids[1]).await, None, "nothing is to be undone");
    let mut again = fixture.claim(9).await;
    again.sort_by_key(|claimed| claimed.lease.order_id);
    let undone = again.pop().unwrap();
    assert_eq!(
        (undone.lease.order_id, undone.kind),
        (ids[3], TaskKind::Compensate)
    );
    let [again] = &again[..] else {
        panic!("one is left")
    };
    assert_eq!(
        (again.lease.order_id, again.lease.attempts, again.run),
        (ids[2], 1, 1)
    );
    assert_eq!(fixture.end_all(&[done(again), done(&undone)]).await, 1);
    assert_eq!(fixture.counted().await, [0, 0, 0, 0]);
    fixture.books_balance().await;
}

/// In one end: one was cancelled while it was attempted, and one has failed.
pub(super) async fn what_is_cancelled_among_many_is_undone(fixture: &Fixture) {
    let ids = fixture.sold(3).await;
    let claimed = fixture.claim(9).await;
    fixture
        .store
        .cancel(ids[1], fixture.at, None)
        .await
        .unwrap();
    assert_eq!(fixture.counted().await, [0, 3, 0, 0]);
    let task = fixture.task(ids[1]).await.unwrap();
    assert_eq!(
        (task.kind, task.state, task.attempts),
        (TaskKind::Compensate, TaskState::InFlight, 0)
    );
    let retry = AttemptOutcome::Retry(Duration::from_secs(60), "no answer".to_owned());
    let ended = [done(&claimed[0]), done(&claimed[1]), (&claimed[2], retry)];
    assert_eq!(fixture.end_all(&ended).await, 1);
    assert_eq!(fixture.counted().await, [1, 0, 1, 0]);
    let undo = fixture.claim(9).await.remove(0);
    assert_eq!(
        (undo.lease.order_id, undo.kind),
        (ids[1], TaskKind::Compensate)
    );
    assert_eq!(fixture.end_all(&[done(&undo)]).await, 0);
    assert_eq!(fixture.counted().await, [0, 0, 1, 0]);
    assert_eq!(fixture.status(ids[1]).await, OrderStatus::Cancelled);
    fixture.books_balance().await;
}

/// More than it may give one by one only when they were packed together.
pub(super) async fn a_claim_ahead_gives_no_more_than_it_may(fixture: &Fixture) {
    let ids = fixture.sold(6).await;
    let claim = Claim {
        id: fixture.ids.next(fixture.at),
        worker_id: Uuid::max(),
        max: 2,
        ahead: 6,
        delay: Duration::ZERO,
        lease: LEASE,
    };
    let mut claimed = fixture.tasks().claim_tasks(&claim).await.unwrap();
    let first = claimed.len();
    assert!(first == 2 || first == 6, "{first}");
    let left = (ids.len() - first) as u64;
    assert_eq!(fixture.counted().await, [left, first as u64, 0, 0]);
    claimed.extend(fixture.claim(9).await);
    let held: Vec<OrderId> = claimed.iter().map(|c| c.lease.order_id).collect();
    assert_eq!(held, ids);
    let all: Vec<(&Claimed, AttemptOutcome)> = claimed.iter().map(done).collect();
    assert_eq!(fixture.end_all(&all).await, 6);
    assert_eq!(fixture.counted().await, [0, 0, 0, 0]);
}
