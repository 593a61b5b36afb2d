//! What a store must do with the tasks that wait: put them there, count them, hold them back.

use std::time::Duration;

use uuid::Uuid;

use super::Bench;
use crate::{
    Error,
    domain::{OrderId, OrderStatus},
    process::{Ending, TaskKind, TaskState},
    queue::Topic,
    worker::{Counts, Heartbeat, KnownWorker, WorkerState},
};

pub(super) async fn only_what_was_sold_has_a_task_to_put_on_the_queue(bench: &Bench) {
    let product = bench.product("q", 10).await;
    let pending = bench.order(&[(product.id, 1)]);
    bench
        .store
        .accept(std::slice::from_ref(&pending))
        .await
        .unwrap();
    let put = bench.store.put_task(pending.id()).await;
    assert!(matches!(
        put,
        Err(Error::OrderState {
            status: OrderStatus::Pending
        })
    ));
    let unknown = OrderId(Uuid::max());
    assert_eq!(bench.store.put_task(unknown).await.unwrap(), None);
    assert_eq!(bench.store.task_history(unknown).await.unwrap(), None);

    let cancelled = bench.sold(1).await[0];
    bench.store.cancel(cancelled, bench.at, None).await.unwrap();
    let put = bench.store.put_task(cancelled).await;
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
    let (at, queue) = (bench.at, bench.store.queue());
    let counted = async || {
        let stats = queue.stats(Topic::Process).await.unwrap();
        assert!(
            (0.0..=60.0).contains(&stats.oldest_age_seconds),
            "{stats:?}"
        );
        (stats.waiting, stats.in_flight)
    };
    assert_eq!(counted().await, (6, 0));
    bench.store.cancel(ids[5], at, None).await.unwrap();
    assert_eq!(counted().await, (5, 0));
    assert_eq!(bench.task(ids[1]).await.unwrap().state, TaskState::Waiting);
    bench.store.put_task(ids[1]).await.unwrap();
    assert_eq!(counted().await, (5, 0));
    assert_eq!(bench.claim(2).await.len(), 2);
    assert_eq!(counted().await, (3, 2));
    assert_eq!(bench.claim(2).await.len(), 2);
    let mut left = None;
    for id in &ids[..5] {
        let task = bench.task(*id).await.unwrap();
        if task.state == TaskState::Waiting {
            assert_eq!(left.replace(*id), None, "one is left");
        }
    }
    bench.store.cancel(left.unwrap(), at, None).await.unwrap();
    assert_eq!(counted().await, (0, 4));
    assert_eq!(bench.claim(2).await.len(), 0);

    let alone = bench.sold(1).await[0];
    bench.store.cancel(alone, at, None).await.unwrap();
    assert_eq!(counted().await, (0, 4));
}

pub(super) async fn a_task_is_put_on_the_queue_again(bench: &Bench) {
    let id = bench.sold(1).await[0];
    let put = bench.store.put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 0),
        "it was there"
    );

    let claimed = bench.claim(9).await.remove(0);
    let held = bench.store.put_task(id).await.unwrap().unwrap();
    assert_eq!(held.state, TaskState::InFlight, "a lease is kept");
    let retry = Ending::Retry(Duration::from_secs(999), "later".to_owned());
    bench.end(&claimed, retry).await;
    let put = bench.store.put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 1),
        "not later, but now"
    );
    let claimed = bench.claim(9).await.remove(0);
    bench.end(&claimed, Ending::Dead("never".to_owned())).await;
    let put = bench.store.put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.attempts),
        (TaskState::Waiting, 0),
        "as if it was never tried"
    );
    let claimed = bench.claim(9).await.remove(0);
    bench.end(&claimed, Ending::Done).await;

    let put = bench.store.put_task(id).await.unwrap().unwrap();
    assert_eq!(
        (put.state, put.kind),
        (TaskState::Waiting, TaskKind::Process)
    );
    let again = bench.claim(9).await.remove(0);
    assert!(again.run > 2, "its attempts go on counting");
    assert_eq!(again.order.as_ref().unwrap().status, OrderStatus::Completed);
    assert_eq!(
        bench.end(&again, Ending::Done).await,
        0,
        "it was completed before"
    );
    assert_eq!(bench.task(id).await, None);
}

pub(super) async fn a_pause_holds_tasks_and_workers_hear_of_it(bench: &Bench) {
    bench.sold(1).await;
    let queue = bench.store.queue();
    let beat = beat(2);
    let heard = bench.store.heartbeat(&beat).await.unwrap();
    assert_eq!(heard, []);
    queue.pause(Topic::Process).await.unwrap();
    assert_eq!(bench.claim(9).await.len(), 0);
    let heard = bench.store.heartbeat(&beat).await.unwrap();
    assert_eq!(heard, [Topic::Process]);
    queue.resume(Topic::Process).await.unwrap();
    assert_eq!(bench.claim(9).await.len(), 1);
}

fn beat(number: u128) -> Heartbeat {
    Heartbeat {
        id: Uuid::from_u128(number),
        host: "host".to_owned(),
        pid: 7,
        version: "1".to_owned(),
        topics: Topic::ALL.to_vec(),
        has_stopped: false,
        counts: Counts::default(),
    }
}

pub(super) async fn workers_are_judged_by_the_clock_of_the_store(bench: &Bench) {
    let known = async || bench.store.workers().await.unwrap();
    let states = async || -> Vec<_> {
        let told = |one: KnownWorker| (one.heartbeat.clone(), one.state());
        known().await.into_iter().map(told).collect()
    };
    let (mut first, mut second) = (beat(2), beat(3));
    bench.store.heartbeat(&first).await.unwrap();
    let started_at = known().await[0].started_at;
    bench.wait(60).await;
    assert_eq!(states().await, [(first.clone(), WorkerState::Dead)]);
    first.counts.processed = 3;
    bench.store.heartbeat(&first).await.unwrap();
    assert_eq!(states().await, [(first.clone(), WorkerState::Alive)]);
    let told = known().await.remove(0);
    let life = told.heartbeat_at - told.started_at;
    assert!((60..90).contains(&life.num_seconds()), "{told:?}");
    assert!((told.started_at - started_at).num_seconds().abs() <= 60);

    second.has_stopped = true;
    bench.store.heartbeat(&second).await.unwrap();
    let both = [
        (second.clone(), WorkerState::Stopped),
        (first.clone(), WorkerState::Alive),
    ];
    assert_eq!(states().await, both, "those that started last first");
    assert!(known().await[0].stopped_at.is_some());
    bench.wait(86_000).await;
    second.has_stopped = false;
    bench.store.heartbeat(&second).await.unwrap();
    let both = [
        (second.clone(), WorkerState::Alive),
        (first, WorkerState::Dead),
    ];
    assert_eq!(states().await, both);
    bench.wait(1_000).await;
    bench.store.heartbeat(&second).await.unwrap();
    let one = [(second.clone(), WorkerState::Alive)];
    assert_eq!(states().await, one, "the other is forgotten");
    // Whoever was away for so long is known again all the same.
    bench.wait(100_000).await;
    bench.store.heartbeat(&second).await.unwrap();
    assert_eq!(states().await, [(second, WorkerState::Alive)]);
}

pub(super) async fn what_is_pending_is_counted(bench: &Bench) {
    assert_eq!(bench.store.backlog().await.unwrap(), Default::default());
    let product = bench.product("p", 100).await;
    let orders = bench.orders(3, &[(product.id, 1)]);
    bench.store.accept(&orders).await.unwrap();
    assert_eq!(bench.store.backlog().await.unwrap().orders, 3);
}
