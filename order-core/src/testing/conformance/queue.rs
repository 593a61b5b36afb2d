//! What a queue must do.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::task::JoinSet;

use super::start;
use crate::{
    clock::ManualClock,
    domain::{IdGenerator, OrderId},
    queue::{Lease, OrderQueue, Topic},
};

const LEASE: Duration = Duration::from_secs(30);

fn ids(count: usize) -> Vec<OrderId> {
    let generator = IdGenerator::default();
    (0..count)
        .map(|_| OrderId(generator.next(start())))
        .collect()
}

fn orders(leases: &[Lease]) -> Vec<OrderId> {
    leases.iter().map(|lease| lease.order_id).collect()
}

async fn with_clock<F, Fut>(fresh: &F) -> (Arc<dyn OrderQueue>, Arc<ManualClock>)
where
    F: Fn(Arc<ManualClock>) -> Fut,
    Fut: Future<Output = Arc<dyn OrderQueue>>,
{
    let clock = Arc::new(ManualClock::new(start()));
    (fresh(Arc::clone(&clock)).await, clock)
}

pub(super) async fn entries_come_once_and_oldest_first<F, Fut>(fresh: &F)
where
    F: Fn(Arc<ManualClock>) -> Fut,
    Fut: Future<Output = Arc<dyn OrderQueue>>,
{
    let (queue, clock) = with_clock(fresh).await;
    let ids = ids(5);
    queue.push(Topic::Validate, &ids[2..]).await.unwrap();
    clock.advance(TimeDelta::seconds(1));
    queue.push(Topic::Validate, &ids).await.unwrap();
    assert_eq!(queue.claim(Topic::Process, 9, LEASE).await.unwrap(), []);
    let oldest = queue.claim(Topic::Validate, 3, LEASE).await.unwrap();
    assert_eq!(orders(&oldest), ids[2..]);
    assert!(oldest.iter().all(|lease| lease.attempts == 1));
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight), (2, 3));
    let rest = queue.claim(Topic::Validate, 9, LEASE).await.unwrap();
    assert_eq!(orders(&rest), ids[..2]);
    assert_eq!(queue.ack(Topic::Validate, oldest).await.unwrap(), 3);
    assert_eq!(queue.ack(Topic::Validate, rest).await.unwrap(), 2);
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight, stats.dead), (0, 0, 0));
}

pub(super) async fn a_lease_that_ran_out_is_taken_over<F, Fut>(fresh: &F)
where
    F: Fn(Arc<ManualClock>) -> Fut,
    Fut: Future<Output = Arc<dyn OrderQueue>>,
{
    let (queue, clock) = with_clock(fresh).await;
    queue.push(Topic::Validate, &ids(1)).await.unwrap();
    let lost = queue.claim(Topic::Validate, 1, LEASE).await.unwrap();
    clock.advance(TimeDelta::seconds(29));
    assert_eq!(queue.claim(Topic::Validate, 1, LEASE).await.unwrap(), []);
    clock.advance(TimeDelta::seconds(2));
    let taken_over = queue.claim(Topic::Validate, 1, LEASE).await.unwrap();
    assert_eq!(orders(&taken_over), orders(&lost));
    assert_eq!(taken_over[0].attempts, 2);
    let nothing = "a lease that was taken over is worth nothing";
    assert_eq!(
        queue.ack(Topic::Validate, lost.clone()).await.unwrap(),
        0,
        "{nothing}"
    );
    let retried = queue
        .retry(Topic::Validate, lost.clone(), LEASE)
        .await
        .unwrap();
    assert_eq!(retried, 0, "{nothing}");
    let dead = queue
        .dead_letter(Topic::Validate, lost, "late")
        .await
        .unwrap();
    assert_eq!(dead, 0, "{nothing}");
    assert_eq!(queue.ack(Topic::Validate, taken_over).await.unwrap(), 1);
}

pub(super) async fn a_retry_waits_for_its_delay<F, Fut>(fresh: &F)
where
    F: Fn(Arc<ManualClock>) -> Fut,
    Fut: Future<Output = Arc<dyn OrderQueue>>,
{
    let (queue, clock) = with_clock(fresh).await;
    queue.push(Topic::Process, &ids(1)).await.unwrap();
    let leases = queue.claim(Topic::Process, 1, LEASE).await.unwrap();
    let delay = Duration::from_secs(60);
    assert_eq!(queue.retry(Topic::Process, leases, delay).await.unwrap(), 1);
    let stats = queue.stats(Topic::Process).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight, stats.delayed), (0, 0, 1));
    clock.advance(TimeDelta::seconds(59));
    assert_eq!(queue.claim(Topic::Process, 1, LEASE).await.unwrap(), []);
    clock.advance(TimeDelta::seconds(3));
    let stats = queue.stats(Topic::Process).await.unwrap();
    assert!((stats.oldest_age_seconds - 2.0).abs() < 1e-6, "{stats:?}");
    let again = queue.claim(Topic::Process, 1, LEASE).await.unwrap();
    assert_eq!(again[0].attempts, 2);
}

pub(super) async fn dead_letters_are_kept_and_not_claimed<F, Fut>(fresh: &F)
where
    F: Fn(Arc<ManualClock>) -> Fut,
    Fut: Future<Output = Arc<dyn OrderQueue>>,
{
    let (queue, clock) = with_clock(fresh).await;
    let ids = ids(2);
    queue.push(Topic::Validate, &ids).await.unwrap();
    let leases = queue.claim(Topic::Validate, 1, LEASE).await.unwrap();
    let dead = queue.dead_letter(Topic::Validate, leases, "broken").await;
    assert_eq!(dead.unwrap(), 1);
    clock.advance(TimeDelta::days(1));
    queue.push(Topic::Validate, &ids).await.unwrap();
    let rest = queue.claim(Topic::Validate, 9, LEASE).await.unwrap();
    assert_eq!(orders(&rest), ids[1..]);
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight, stats.dead), (0, 1, 1));
}

pub(super) async fn concurrent_claims_share_nothing<F, Fut>(fresh: &F)
where
    F: Fn(Arc<ManualClock>) -> Fut,
    Fut: Future<Output = Arc<dyn OrderQueue>>,
{
    let (queue, _clock) = with_clock(fresh).await;
    let ids = ids(2_000);
    queue.push(Topic::Validate, &ids).await.unwrap();
    let mut claimers = JoinSet::new();
    for _ in 0..8 {
        let queue = Arc::clone(&queue);
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let leases = queue.claim(Topic::Validate, 50, LEASE).await.unwrap();
                if leases.is_empty() {
                    return mine;
                }
                mine.extend(orders(&leases));
                let held = leases.len();
                assert_eq!(queue.ack(Topic::Validate, leases).await.unwrap(), held);
            }
        });
    }
    let claimed: Vec<OrderId> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), ids.len(), "each entry was claimed once");
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), ids.len());
}
