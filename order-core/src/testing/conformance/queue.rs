//! Checks of a queue.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::task::JoinSet;

use super::{fixture::start, time::Time};
use crate::{
    domain::{IdGenerator, OrderId, TimeRange},
    queue::{DeadFilter, DeadLetter, DeadQuery, DeadSummary, Lease, OrderQueue, Topic},
};

const LEASE: Duration = Duration::from_secs(30);
const NO_WAIT: Duration = Duration::ZERO;

/// A new, empty queue, and its time.
pub(super) type Fresh = (Arc<dyn OrderQueue>, Arc<dyn Time>);

fn ids(count: usize) -> Vec<OrderId> {
    let generator = IdGenerator::default();
    (0..count)
        .map(|_| OrderId(generator.next(start())))
        .collect()
}

fn orders(leases: &[Lease]) -> Vec<OrderId> {
    leases.iter().map(|lease| lease.order_id).collect()
}

pub(super) async fn entries_come_once_and_oldest_first((queue, time): Fresh) {
    let ids = ids(5);
    let pushed = queue.push(Topic::Validate, &ids[2..]).await.unwrap();
    assert_eq!(pushed, ids.len() - 2);
    time.advance(TimeDelta::seconds(1)).await;
    let pushed = queue.push(Topic::Validate, &ids).await.unwrap();
    assert_eq!(pushed, 2, "the others are there");
    assert_eq!(
        queue
            .claim(Topic::Process, 9, LEASE, NO_WAIT)
            .await
            .unwrap(),
        []
    );
    let oldest = queue
        .claim(Topic::Validate, 3, LEASE, NO_WAIT)
        .await
        .unwrap();
    assert_eq!(orders(&oldest), ids[2..]);
    assert!(oldest.iter().all(|lease| lease.attempts == 1));
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight), (2, 3));
    let rest = queue
        .claim(Topic::Validate, 9, LEASE, NO_WAIT)
        .await
        .unwrap();
    assert_eq!(orders(&rest), ids[..2]);
    assert_eq!(queue.ack(Topic::Validate, oldest).await.unwrap(), 3);
    assert_eq!(queue.ack(Topic::Validate, rest).await.unwrap(), 2);
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight, stats.dead), (0, 0, 0));
}

pub(super) async fn a_lease_that_ran_out_is_taken_over((queue, time): Fresh) {
    queue.push(Topic::Validate, &ids(1)).await.unwrap();
    let lost = queue
        .claim(Topic::Validate, 1, LEASE, NO_WAIT)
        .await
        .unwrap();
    time.advance(TimeDelta::seconds(29)).await;
    assert_eq!(
        queue
            .claim(Topic::Validate, 1, LEASE, NO_WAIT)
            .await
            .unwrap(),
        []
    );
    time.advance(TimeDelta::seconds(2)).await;
    let taken_over = queue
        .claim(Topic::Validate, 1, LEASE, NO_WAIT)
        .await
        .unwrap();
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

pub(super) async fn a_retry_waits_for_its_delay((queue, time): Fresh) {
    queue.push(Topic::Process, &ids(1)).await.unwrap();
    let leases = queue
        .claim(Topic::Process, 1, LEASE, NO_WAIT)
        .await
        .unwrap();
    let delay = Duration::from_secs(60);
    assert_eq!(queue.retry(Topic::Process, leases, delay).await.unwrap(), 1);
    let stats = queue.stats(Topic::Process).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight, stats.delayed), (0, 0, 1));
    time.advance(TimeDelta::seconds(59)).await;
    assert_eq!(
        queue
            .claim(Topic::Process, 1, LEASE, NO_WAIT)
            .await
            .unwrap(),
        []
    );
    time.advance(TimeDelta::seconds(3)).await;
    let stats = queue.stats(Topic::Process).await.unwrap();
    assert!((stats.oldest_age_seconds - 2.0).abs() < 0.5, "{stats:?}");
    let again = queue
        .claim(Topic::Process, 1, LEASE, NO_WAIT)
        .await
        .unwrap();
    assert_eq!(again[0].attempts, 2);
}

pub(super) async fn dead_letters_are_kept_and_not_claimed((queue, time): Fresh) {
    let ids = ids(2);
    queue.push(Topic::Validate, &ids).await.unwrap();
    let leases = queue
        .claim(Topic::Validate, 1, LEASE, NO_WAIT)
        .await
        .unwrap();
    let dead = queue.dead_letter(Topic::Validate, leases, "broken").await;
    assert_eq!(dead.unwrap(), 1);
    time.advance(TimeDelta::days(1)).await;
    queue.push(Topic::Validate, &ids).await.unwrap();
    let rest = queue
        .claim(Topic::Validate, 9, LEASE, NO_WAIT)
        .await
        .unwrap();
    assert_eq!(orders(&rest), ids[1..]);
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.waiting, stats.in_flight, stats.dead), (0, 1, 1));
}

pub(super) async fn concurrent_claims_share_nothing((queue, time): Fresh) {
    let _ = time;
    let ids = ids(2_000);
    queue.push(Topic::Validate, &ids).await.unwrap();
    let mut claimers = JoinSet::new();
    for _ in 0..8 {
        let queue = Arc::clone(&queue);
        claimers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let leases = queue
                    .claim(Topic::Validate, 50, LEASE, NO_WAIT)
                    .await
                    .unwrap();
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

pub(super) async fn dead_letters_can_be_read_and_redriven((queue, time): Fresh) {
    let ids = ids(3);
    queue.push(Topic::Process, &ids).await.unwrap();
    for (number, reason) in ["first", "second: with detail"].iter().enumerate() {
        let leases = queue
            .claim(Topic::Process, 1, LEASE, NO_WAIT)
            .await
            .unwrap();
        assert_eq!(orders(&leases), ids[number..=number]);
        queue
            .dead_letter(Topic::Process, leases, reason)
            .await
            .unwrap();
        time.advance(TimeDelta::seconds(1)).await;
    }
    let dead = queue
        .dead(Topic::Process, &DeadQuery::latest(9))
        .await
        .unwrap();
    let letters: Vec<_> = dead
        .iter()
        .map(|d| (d.order_id, d.reason.as_str(), d.attempts))
        .collect();
    assert_eq!(
        letters,
        [(ids[1], "second: with detail", 1), (ids[0], "first", 1)]
    );
    assert_eq!(
        queue
            .dead(Topic::Process, &DeadQuery::latest(1))
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        queue
            .dead(Topic::Validate, &DeadQuery::latest(9))
            .await
            .unwrap(),
        []
    );
    let all = queue
        .redrive(Topic::Process, &[ids[0], ids[2]])
        .await
        .unwrap();
    assert_eq!(all, 1, "what is not dead is not redriven");
    assert_eq!(
        queue
            .dead(Topic::Process, &DeadQuery::latest(9))
            .await
            .unwrap()
            .len(),
        1
    );
    let leases = queue
        .claim(Topic::Process, 9, LEASE, NO_WAIT)
        .await
        .unwrap();
    assert_eq!(orders(&leases), [ids[0], ids[2]]);
    assert_eq!(leases[0].attempts, 1, "attempts count from the start");
}

/// Five dead letters, a second apart.
async fn five_dead(queue: &dyn OrderQueue, time: &dyn Time) -> Vec<OrderId> {
    let ids = ids(5);
    queue.push(Topic::Process, &ids).await.unwrap();
    let reasons = [
        "mail: no route",
        "Mail: no route",
        "mail: no route",
        "paper",
        "50%_off\\",
    ];
    for reason in reasons {
        let leases = queue.claim(Topic::Process, 1, LEASE, NO_WAIT).await;
        let dead = queue.dead_letter(Topic::Process, leases.unwrap(), reason);
        assert_eq!(dead.await.unwrap(), 1);
        time.advance(TimeDelta::seconds(1)).await;
    }
    ids
}

pub(super) async fn dead_letters_are_found_by_reason_and_time((queue, time): Fresh) {
    let ids = five_dead(&*queue, &*time).await;
    let dead = async |filter: &DeadFilter, after, limit| {
        let (filter, topic) = (filter.clone(), Topic::Process);
        let query = DeadQuery {
            filter,
            after,
            limit,
        };
        queue.dead(topic, &query).await.unwrap()
    };
    let of = |reason: &str| DeadFilter {
        reason: Some(reason.to_owned()),
        ..DeadFilter::default()
    };
    let all = dead(&DeadFilter::default(), None, 9).await;
    let found = |found: &[DeadLetter]| found.iter().map(|dead| dead.order_id).collect::<Vec<_>>();
    assert_eq!(found(&all), [ids[4], ids[3], ids[2], ids[1], ids[0]]);
    assert_eq!(
        found(&dead(&of("mAIL: no"), None, 9).await),
        [ids[2], ids[1], ids[0]]
    );
    assert_eq!(found(&dead(&of("%_off\\"), None, 9).await), [ids[4]]);
    assert_eq!(found(&dead(&of("a%r"), None, 9).await), []);
    let since_second = DeadFilter {
        given_up: TimeRange {
            from: Some(all[3].dead_at),
            until: Some(all[1].dead_at),
        },
        ..of("mail")
    };
    assert_eq!(found(&dead(&since_second, None, 9).await), [ids[2], ids[1]]);

    let (mut after, mut paged) = (None, Vec::new());
    while let Some(letter) = dead(&of("a"), after, 1).await.pop() {
        after = Some(letter.place());
        paged.push(letter);
    }
    assert_eq!(found(&paged), [ids[3], ids[2], ids[1], ids[0]]);

    let summary = async |filter: &DeadFilter, groups| {
        let summary = queue.dead_summary(Topic::Process, filter, groups);
        summary.await.unwrap()
    };
    let counted = summary(&DeadFilter::default(), 2).await;
    assert_eq!(
        (counted.count, counted.reasons, counted.capped),
        (5, 4, false)
    );
    let groups = counted.groups.iter();
    let groups: Vec<_> = groups.map(|g| (&*g.reason, g.count, g.latest)).collect();
    assert_eq!(
        groups,
        [
            ("mail: no route", 2, all[2].dead_at),
            ("50%_off\\", 1, all[0].dead_at)
        ]
    );
    assert_eq!(summary(&since_second, 9).await.count, 2);
    assert_eq!(summary(&of("nothing"), 9).await, DeadSummary::default());
    assert_eq!(
        queue
            .dead_summary(Topic::Validate, &of(""), 9)
            .await
            .unwrap(),
        DeadSummary::default()
    );
}

pub(super) async fn a_paused_topic_gives_out_nothing((queue, time): Fresh) {
    let _ = time;
    queue.push(Topic::Validate, &ids(1)).await.unwrap();
    queue.push(Topic::Process, &ids(1)).await.unwrap();
    for _ in 0..2 {
        queue.pause(Topic::Validate).await.unwrap();
    }
    assert_eq!(
        queue
            .claim(Topic::Validate, 9, LEASE, NO_WAIT)
            .await
            .unwrap(),
        []
    );
    let stats = queue.stats(Topic::Validate).await.unwrap();
    assert_eq!((stats.paused, stats.waiting), (true, 1));
    assert!(!queue.stats(Topic::Process).await.unwrap().paused);
    assert_eq!(
        queue
            .claim(Topic::Process, 9, LEASE, NO_WAIT)
            .await
            .unwrap()
            .len(),
        1
    );
    for _ in 0..2 {
        queue.resume(Topic::Validate).await.unwrap();
    }
    assert_eq!(
        queue
            .claim(Topic::Validate, 9, LEASE, NO_WAIT)
            .await
            .unwrap()
            .len(),
        1
    );
}
