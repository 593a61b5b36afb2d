//! What a store must do with the tasks that wait: put them there, count them, hold them back.

use std::time::Duration;

use uuid::Uuid;

use super::{Bench, tasks::later};
use crate::{
    Error,
    domain::{OrderId, OrderStatus},
    process::{Ending, TaskKind, TaskState},
    queue::Topic,
    worker::{Counts, Heartbeat, WorkerState},
};

pub(super) async fn only_what_was_sold_has_a_task_to_put_on_the_queue(bench: &Bench) {
    let product = bench.product("q", 10).await;
    let pending = bench.order(&[(product.id, 1)]);
    bench
        .store
        .accept(std::slice::from_ref(&pending))
        .await
        .unwrap();
    let put = bench.store.put_task(pending.id(), bench.at).await;
    assert!(matches!(
        put,
        Err(Error::OrderState {
            status: OrderStatus::Pending
        })
    ));
    let unknown = OrderId(Uuid::max());
    assert_eq!(bench.store.put_task(unknown, bench.at).await.unwrap(), None);
    assert_eq!(
        bench.store.task_history(unknown, bench.at).await.unwrap(),
        None
    );

    let at = later(bench, 1);
    let cancelled = bench.sold(1).await[0];
    bench.store.cancel(cancelled, at, None).await.unwrap();
    let put = bench.store.put_task(cancelled, at).await;
    assert!(matches!(
        put,
        Err(Error::OrderState {
            status: OrderStatus::Cancelled
        })
    ));
}

/// Sold together, and then claimed, cancelled and asked for one by one.
pub(super) async fn a_task_is_counted_once_wherever_it_waits(bench: &Bench) {
    let ids = bench.sold(6).await;
    let at = later(bench, 1);
    let queue = bench
        .store
        .queue(std::sync::Arc::new(crate::clock::ManualClock::new(at)));
    let counted = async || {
        let stats = queue.stats(Topic::Process).await.unwrap();
        assert!((0.0..=1.0).contains(&stats.oldest_age_seconds), "{stats:?}");
        (stats.waiting, stats.in_flight)
    };
    assert_eq!(counted().await, (6, 0));
    bench.store.cancel(ids[5], at, None).await.unwrap();
    assert_eq!(counted().await, (5, 0));
    let task = bench.task(ids[1], at).await.unwrap();
    assert_eq!((task.state, task.at), (TaskState::Waiting, bench.at));
    bench.store.put_task(ids[1], at).await.unwrap();
    assert_eq!(counted().await, (5, 0));
    assert_eq!(bench.claim(2, at).await.len(), 2);
    assert_eq!(counted().await, (3, 2));
    assert_eq!(bench.claim(2, at).await.len(), 2);
    let mut left = None;
    for id in &ids[..5] {
        let task = bench.task(*id, at).await.unwrap();
        if task.state == TaskState::Waiting {
            assert_eq!(left.replace(*id), None, "one is left");
        }
    }
    bench.store.cancel(left.unwrap(), at, None).await.unwrap();
    assert_eq!(counted().await, (0, 4));
    assert_eq!(bench.claim(2, at).await.len(), 0);

    let alone = bench.sold(1).await[0];
    bench.store.cancel(alone, at, None).await.unwrap();
    assert_eq!(counted().await, (0, 4));
}

pub(super) async fn a_task_is_put_on_the_queue_again(bench: &Bench) {
    let (id, at) = (bench.sold(1).await[0], later(bench, 1));
    let put = bench.store.put_task(id, at).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 0),
        "it was there"
    );

    let claimed = bench.claim(9, at).await.remove(0);
    let held = bench.store.put_task(id, at).await.unwrap().unwrap();
    assert_eq!(held.state, TaskState::InFlight, "a lease is kept");
    let retry = Ending::Retry(later(bench, 999), "later".to_owned());
    bench.end(&claimed, retry, at).await;
    let put = bench.store.put_task(id, at).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 1),
        "not later, but now"
    );
    let claimed = bench.claim(9, at).await.remove(0);
    bench
        .end(&claimed, Ending::Dead("never".to_owned()), at)
        .await;
    let put = bench.store.put_task(id, at).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 0),
        "as if it was never tried"
    );
    let claimed = bench.claim(9, at).await.remove(0);
    bench.end(&claimed, Ending::Done, at).await;

    let put = bench.store.put_task(id, at).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.kind),
        (TaskState::Waiting, TaskKind::Process)
    );
    let again = bench.claim(9, at).await.remove(0);
    assert!(again.run > 2, "its attempts go on counting");
    assert_eq!(again.order.as_ref().unwrap().status, OrderStatus::Completed);
    assert_eq!(
        bench.end(&again, Ending::Done, at).await,
        0,
        "it was completed before"
    );
    assert_eq!(bench.task(id, at).await, None);
}

pub(super) async fn a_pause_holds_tasks_and_workers_hear_of_it(bench: &Bench) {
    bench.sold(1).await;
    let clock = std::sync::Arc::new(crate::clock::ManualClock::new(bench.at));
    let queue = bench.store.queue(clock);
    let mut beat = Heartbeat {
        id: Uuid::from_u128(2),
        host: "host".to_owned(),
        pid: 7,
        version: "1".to_owned(),
        topics: Topic::ALL.to_vec(),
        started_at: bench.at,
        heartbeat_at: bench.at,
        stopped_at: None,
        counts: Counts::default(),
    };
    let heard = bench.store.heartbeat(&beat).await.unwrap();
    assert_eq!(heard, []);
    queue.pause(Topic::Process).await.unwrap();
    let at = later(bench, 1);
    assert_eq!(bench.claim(9, at).await.len(), 0);
    beat.heartbeat_at = at;
    beat.counts.processed = 3;
    let heard = bench.store.heartbeat(&beat).await.unwrap();
    assert_eq!(heard, [Topic::Process]);
    queue.resume(Topic::Process).await.unwrap();
    assert_eq!(bench.claim(9, at).await.len(), 1);

    assert_eq!(bench.store.workers().await.unwrap(), [beat.clone()]);
    assert_eq!(beat.state(later(bench, 10)), WorkerState::Alive);
    assert_eq!(beat.state(later(bench, 11)), WorkerState::Dead);
    let other = Heartbeat {
        id: Uuid::from_u128(3),
        heartbeat_at: at + Duration::from_secs(86_400),
        stopped_at: Some(at + Duration::from_secs(86_400)),
        ..beat.clone()
    };
    bench.store.heartbeat(&other).await.unwrap();
    assert_eq!(bench.store.workers().await.unwrap(), [other.clone(), beat]);
    assert_eq!(other.state(other.heartbeat_at), WorkerState::Stopped);
    let much_later = Heartbeat {
        heartbeat_at: other.heartbeat_at + Duration::from_secs(2),
        ..other
    };
    bench.store.heartbeat(&much_later).await.unwrap();
    assert_eq!(bench.store.workers().await.unwrap(), [much_later]);
}

pub(super) async fn what_is_pending_is_counted(bench: &Bench) {
    assert_eq!(bench.store.backlog().await.unwrap(), Default::default());
    let product = bench.product("p", 100).await;
    let orders = bench.orders(3, &[(product.id, 1)]);
    bench.store.accept(&orders).await.unwrap();
    let backlog = bench.store.backlog().await.unwrap();
    assert_eq!((backlog.orders, backlog.oldest_at), (3, Some(bench.at)));
}
