//! Checks of tasks that wait: they are put on the queue, counted, and held back.

use std::time::Duration;

use uuid::Uuid;

use super::{fixture::Fixture, workers::beat};
use crate::{
    Error,
    domain::{OrderId, OrderStatus},
    process::{AttemptOutcome, TaskKind, TaskQuery, TaskState},
    queue::Topic,
};

pub(super) async fn only_what_was_sold_has_a_task_to_put_on_the_queue(fixture: &Fixture) {
    let product = fixture.product("q", 10).await;
    let pending = fixture.order(&[(product.id, 1)]);
    fixture
        .store
        .accept(std::slice::from_ref(&pending))
        .await
        .unwrap();
    let put = fixture.tasks().put_task(pending.id()).await;
    assert!(matches!(
        put,
        Err(Error::OrderState {
            status: OrderStatus::Pending
        })
    ));
    let unknown = OrderId(Uuid::max());
    assert_eq!(fixture.tasks().put_task(unknown).await.unwrap(), None);
    assert_eq!(fixture.tasks().task_history(unknown).await.unwrap(), None);

    let cancelled = fixture.sold(1).await[0];
    fixture
        .store
        .cancel(cancelled, fixture.at, None)
        .await
        .unwrap();
    let put = fixture.tasks().put_task(cancelled).await;
    assert!(matches!(
        put,
        Err(Error::OrderState {
            status: OrderStatus::Cancelled
        })
    ));
}

/// Sold together, and then claimed, cancelled and asked for one by one.
pub(super) async fn a_task_is_counted_once_wherever_it_waits(fixture: &Fixture) {
    let ids = fixture.sold(6).await;
    let (at, queue) = (fixture.at, fixture.queue());
    let counted = async || {
        let stats = queue.stats(Topic::Process).await.unwrap();
        assert!(
            (0.0..=60.0).contains(&stats.oldest_age_seconds),
            "{stats:?}"
        );
        (stats.waiting, stats.in_flight)
    };
    assert_eq!(counted().await, (6, 0));
    fixture.store.cancel(ids[5], at, None).await.unwrap();
    assert_eq!(counted().await, (5, 0));
    assert_eq!(
        fixture.task(ids[1]).await.unwrap().state,
        TaskState::Waiting
    );
    fixture.tasks().put_task(ids[1]).await.unwrap();
    assert_eq!(counted().await, (5, 0));
    assert_eq!(fixture.claim(2).await.len(), 2);
    assert_eq!(counted().await, (3, 2));
    assert_eq!(fixture.claim(2).await.len(), 2);
    let mut left = None;
    for id in &ids[..5] {
        let task = fixture.task(*id).await.unwrap();
        if task.state == TaskState::Waiting {
            assert_eq!(left.replace(*id), None, "one is left");
        }
    }
    fixture.store.cancel(left.unwrap(), at, None).await.unwrap();
    assert_eq!(counted().await, (0, 4));
    assert_eq!(fixture.claim(2).await.len(), 0);

    let alone = fixture.sold(1).await[0];
    fixture.store.cancel(alone, at, None).await.unwrap();
    assert_eq!(counted().await, (0, 4));
}

/// The delay between a sale and its task is no backlog, and neither is a retry.
pub(super) async fn tasks_are_told_apart_by_their_state(fixture: &Fixture) {
    let delay = Duration::from_secs(60);
    let (old, tasks) = (fixture.sold(4).await, fixture.tasks());
    fixture.wait(90).await;
    let claimed = fixture.claim(3).await;
    let retry = AttemptOutcome::Retry(Duration::from_secs(600), "later".to_owned());
    fixture.end(&claimed[0], retry).await;
    let dead = AttemptOutcome::Dead("never".to_owned());
    fixture.end(&claimed[1], dead).await;
    let new = fixture.sold(2).await;
    let claims: Vec<OrderId> = claimed.iter().map(|c| c.lease.order_id).collect();
    let rest: Vec<OrderId> = old.into_iter().filter(|id| !claims.contains(id)).collect();
    let in_state = async |state, limit| {
        let query = TaskQuery {
            state,
            delay,
            limit,
        };
        let found = tasks.tasks(&query).await.unwrap();
        assert!(found.iter().all(|task| task.state == state), "{found:?}");
        let mut ids: Vec<OrderId> = found.iter().map(|task| task.order_id).collect();
        ids.sort();
        ids
    };
    for (state, expected) in [
        (TaskState::Waiting, &rest[..]),
        (TaskState::Scheduled, &new),
        (TaskState::InFlight, &claims[2..]),
        (TaskState::Retrying, &claims[..1]),
        (TaskState::Dead, &claims[1..2]),
    ] {
        assert_eq!(in_state(state, 9).await, expected, "{state:?}");
    }
    assert_eq!(in_state(TaskState::Scheduled, 1).await.len(), 1);
    let stats = tasks.task_stats(delay).await.unwrap();
    let counted = [stats.waiting, stats.scheduled, stats.in_flight];
    assert_eq!((counted, stats.delayed, stats.dead), ([1, 2, 1], 1, 1));
    assert!(
        (29.0..=60.0).contains(&stats.oldest_age_seconds),
        "{stats:?}"
    );
    let at_once = tasks.task_stats(Duration::ZERO).await.unwrap();
    assert_eq!((at_once.waiting, at_once.scheduled), (3, 0));
    fixture.wait(61).await;
    let later = tasks.task_stats(delay).await.unwrap();
    assert_eq!((later.waiting, later.scheduled), (3, 0));
}

pub(super) async fn a_task_is_put_on_the_queue_again(fixture: &Fixture) {
    let id = fixture.sold(1).await[0];
    let put = fixture.tasks().put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 0),
        "it was there"
    );

    let claimed = fixture.claim(9).await.remove(0);
    let held = fixture.tasks().put_task(id).await.unwrap().unwrap();
    assert_eq!(held.state, TaskState::InFlight, "a lease is kept");
    let retry = AttemptOutcome::Retry(Duration::from_secs(999), "later".to_owned());
    fixture.end(&claimed, retry).await;
    let put = fixture.tasks().put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 1),
        "not later, but now"
    );
    let claimed = fixture.claim(9).await.remove(0);
    fixture
        .end(&claimed, AttemptOutcome::Dead("never".to_owned()))
        .await;
    let put = fixture.tasks().put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 0),
        "as if it was never tried"
    );
    let claimed = fixture.claim(9).await.remove(0);
    fixture.end(&claimed, AttemptOutcome::Done).await;

    let put = fixture.tasks().put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.kind),
        (TaskState::Waiting, TaskKind::Process)
    );
    let again = fixture.claim(9).await.remove(0);
    assert!(again.run > 2, "its attempts go on counting");
    assert_eq!(again.order.as_ref().unwrap().status, OrderStatus::Completed);
    assert_eq!(
        fixture.end(&again, AttemptOutcome::Done).await,
        0,
        "it was completed before"
    );
    assert_eq!(fixture.task(id).await, None);
}

pub(super) async fn a_pause_holds_tasks_and_workers_hear_of_it(fixture: &Fixture) {
    fixture.sold(1).await;
    let queue = fixture.queue();
    let beat = beat(2);
    let heard = fixture.workers().heartbeat(&beat).await.unwrap();
    assert_eq!(heard, []);
    queue.pause(Topic::Process).await.unwrap();
    assert_eq!(fixture.claim(9).await.len(), 0);
    let heard = fixture.workers().heartbeat(&beat).await.unwrap();
    assert_eq!(heard, [Topic::Process]);
    queue.resume(Topic::Process).await.unwrap();
    assert_eq!(fixture.claim(9).await.len(), 1);
}
