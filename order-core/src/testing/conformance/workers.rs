//! Checks of the heartbeats that a store keeps.

use uuid::Uuid;

use super::fixture::Fixture;
use crate::{
    heartbeat::{Heartbeat, KnownWorker, WorkerCounts, WorkerState},
    queue::Topic,
};

pub(super) fn beat(number: u128) -> Heartbeat {
    Heartbeat {
        id: Uuid::from_u128(number),
        host: "host".to_owned(),
        pid: 7,
        version: "1".to_owned(),
        topics: Topic::ALL.to_vec(),
        has_stopped: false,
        counts: WorkerCounts::default(),
    }
}

pub(super) async fn workers_are_judged_by_the_clock_of_the_store(fixture: &Fixture) {
    let known = async || fixture.workers().workers().await.unwrap();
    let states = async || -> Vec<_> {
        let report = |one: KnownWorker| (one.heartbeat.clone(), one.state());
        known().await.into_iter().map(report).collect()
    };
    let (mut first, mut second) = (beat(2), beat(3));
    fixture.workers().heartbeat(&first).await.unwrap();
    let started_at = known().await[0].started_at;
    fixture.wait(60).await;
    assert_eq!(states().await, [(first.clone(), WorkerState::Dead)]);
    first.counts.processed = 3;
    fixture.workers().heartbeat(&first).await.unwrap();
    assert_eq!(states().await, [(first.clone(), WorkerState::Alive)]);
    let worker = known().await.remove(0);
    let life = worker.heartbeat_at - worker.started_at;
    assert!((60..90).contains(&life.num_seconds()), "{worker:?}");
    assert!((worker.started_at - started_at).num_seconds().abs() <= 60);

    second.has_stopped = true;
    fixture.workers().heartbeat(&second).await.unwrap();
    let both = [
        (second.clone(), WorkerState::Stopped),
        (first.clone(), WorkerState::Alive),
    ];
    assert_eq!(states().await, both, "those that started last first");
    assert!(known().await[0].stopped_at.is_some());
    fixture.wait(86_000).await;
    second.has_stopped = false;
    fixture.workers().heartbeat(&second).await.unwrap();
    let both = [
        (second.clone(), WorkerState::Alive),
        (first, WorkerState::Dead),
    ];
    assert_eq!(states().await, both);
    fixture.wait(1_000).await;
    fixture.workers().heartbeat(&second).await.unwrap();
    let one = [(second.clone(), WorkerState::Alive)];
    assert_eq!(states().await, one, "the other is forgotten");
    // Whoever was away for so long is known again all the same.
    fixture.wait(100_000).await;
    fixture.workers().heartbeat(&second).await.unwrap();
    assert_eq!(states().await, [(second, WorkerState::Alive)]);
}
