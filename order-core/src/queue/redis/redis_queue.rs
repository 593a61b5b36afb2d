//! The queue, on its scripts.

use std::time::Duration;

use async_trait::async_trait;
use redis::{FromRedisValue, ScriptInvocation, streams::StreamReadReply};
use tokio::time::timeout;

use super::{
    checks::Checks,
    claim_id::{entry_of, lease},
    dead_pages::{DeadPages, dead_letter},
    keys::{GROUP, hex, key},
    scripts::{CLAIM, CONSUME, PUSH, REDRIVE, STATS, SWEEP},
};
use crate::{
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId},
    error::Error,
    queue::{
        COUNT_LIMIT, DeadFilter, DeadLetter, DeadQuery, DeadSummary, Lease, OrderQueue, QueueStats,
        Topic,
    },
    redis_client::{RedisClient, millis},
};

/// The most entries that one call is about: an answer comes well within its limit.
const SLICE: usize = 1_000;
/// The most entries that are claimed at once.
const MAX_CLAIMED: usize = 10_000;
/// The length up to which the reason is kept for which an order was given up.
const MAX_REASON_CHARS: usize = 2_000;
/// The longest that a claim waits for an entry.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A queue in Redis.
#[derive(Debug)]
pub struct RedisQueue {
    client: RedisClient,
    /// Claims wait on a connection of their own: others would wait behind them.
    waiting: RedisClient,
    /// Held by the claim that waits: another would wait behind it.
    turn: tokio::sync::Mutex<()>,
    /// This process, as a member of the group.
    consumer: String,
    checks: Checks,
}

impl RedisQueue {
    /// A queue over `client`. Does not connect yet.
    #[must_use]
    pub fn new(client: RedisClient) -> Self {
        let id = IdGenerator::default().next(SystemClock.now());
        Self {
            waiting: client.for_waiting("claims that wait", LONGEST_WAIT),
            turn: tokio::sync::Mutex::default(),
            client: client.for_purpose("queue"),
            consumer: format!("{}-{id}", std::process::id()),
            checks: Checks::default(),
        }
    }

    async fn script<T: FromRedisValue>(
        &self,
        topic: Topic,
        operation: &'static str,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        let answer = self.client.script(operation, invocation).await;
        if answer.as_ref().is_err_and(RedisClient::is_wrong_type) {
            self.checks.name_wrong_key(&self.client, topic).await;
        }
        answer
    }

    /// Waits for new entries; what comes is claimed.
    async fn wait_for_new(
        &self,
        topic: Topic,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let wait = wait.min(LONGEST_WAIT);
        let Ok(_turn) = timeout(wait, self.turn.lock()).await else {
            return Ok(Vec::new());
        };
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer);
        read.arg("COUNT")
            .arg(count(max))
            .arg("BLOCK")
            .arg(millis(wait));
        read.arg("STREAMS").arg(key(topic, "stream")).arg(">");
        let reply: Result<Option<StreamReadReply>, Error> =
            self.waiting.waiting_command("wait", &read, wait).await;
        let reply = match reply {
            // The group is gone with everything else: the next claim makes it anew.
            Err(Error::Backend { .. }) => return Ok(Vec::new()),
            reply => reply?,
        };
        let entries = reply
            .into_iter()
            .flat_map(|reply| reply.keys)
            .flat_map(|key| key.ids);
        // One that cannot be read is left to its lease: taken over, it is set aside.
        Ok(entries
            .filter_map(|entry| {
                let order: String = entry.get("order")?;
                lease(&entry.id, &order, entry.get("attempts")?, 1)
            })
            .collect())
    }

    async fn consume(
        &self,
        topic: Topic,
        mut leases: Vec<Lease>,
        operation: &'static str,
        argument: &str,
    ) -> Result<usize, Error> {
        // By entry, which is the order of the bits of a claim's id.
        leases.sort_unstable_by_key(|lease| lease.claim_id);
        let mut consumed = 0;
        for leases in leases.chunks(SLICE) {
            let mut consume = CONSUME.prepare_invoke();
            for name in ["stream", "known", "delayed", "dead", "reasons"] {
                consume.key(key(topic, name));
            }
            consume
                .arg(GROUP)
                .arg(&self.consumer)
                .arg(operation)
                .arg(argument);
            for lease in leases {
                let (entry, deliveries) = entry_of(lease.claim_id);
                consume.arg(entry).arg(deliveries);
                consume.arg(hex(lease.order_id)).arg(lease.attempts);
            }
            consumed += self.script::<usize>(topic, operation, &consume).await?;
        }
        Ok(consumed)
    }

    /// The dead letters of a page; `None` after the last one.
    async fn dead_page(
        &self,
        topic: Topic,
        pages: &mut DeadPages,
    ) -> Result<Option<Vec<DeadLetter>>, Error> {
        let latest = pages.next(&key(topic, "dead"));
        let dead: Vec<(String, i64)> = self.client.command("dead letters", &latest).await?;
        if dead.is_empty() {
            return Ok(None);
        }
        let dead = pages.following(dead);
        if dead.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let mut get = redis::cmd("HMGET");
        get.arg(key(topic, "reasons"));
        for (order, _) in &dead {
            get.arg(order);
        }
        let reasons: Vec<Option<String>> = self.client.command("dead letters", &get).await?;
        let letters = dead.iter().zip(reasons);
        let letters = letters.filter_map(|((order, at_ms), reason)| {
            dead_letter(order, *at_ms, &reason.unwrap_or_default())
        });
        Ok(Some(letters.collect()))
    }
}

#[async_trait]
impl OrderQueue for RedisQueue {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let mut pushed = 0;
        for orders in orders.chunks(SLICE) {
            let mut push = PUSH.prepare_invoke();
            for name in ["stream", "known", "delayed", "dead"] {
                push.key(key(topic, name));
            }
            for order in orders {
                push.arg(hex(*order));
            }
            pushed += self.script::<usize>(topic, "push", &push).await?;
        }
        Ok(pushed)
    }

    async fn may_sweep(&self, topic: Topic, term: Duration) -> Result<bool, Error> {
        let mut sweep = SWEEP.prepare_invoke();
        sweep
            .key(key(topic, "sweeper"))
            .arg(&self.consumer)
            .arg(millis(term).max(1));
        self.script(topic, "sweep", &sweep).await
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease_for: Duration,
        wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        self.checks.once(&self.client, topic).await?;
        let max = max.min(MAX_CLAIMED);
        let mut claim = CLAIM.prepare_invoke();
        for name in ["stream", "known", "delayed", "paused", "malformed"] {
            claim.key(key(topic, name));
        }
        claim
            .arg(GROUP)
            .arg(&self.consumer)
            .arg(count(max))
            .arg(millis(lease_for));
        let claimed: Option<Vec<(String, String, u32, u32)>> =
            self.script(topic, "claim", &claim).await?;
        // A paused topic gives not even an empty list: there is nothing to wait for.
        let Some(claimed) = claimed else {
            return Ok(Vec::new());
        };
        let mut leases: Vec<Lease> = claimed
            .iter()
            .filter_map(|(id, order, attempts, deliveries)| {
                lease(id, order, *attempts, *deliveries)
            })
            .collect();
        if leases.is_empty() && !wait.is_zero() {
            leases = self.wait_for_new(topic, max, wait).await?;
        }
        leases.sort_unstable_by_key(|lease| lease.order_id);
        Ok(leases)
    }

    async fn ack(&self, topic: Topic, leases: Vec<Lease>) -> Result<usize, Error> {
        self.consume(topic, leases, "ack", "").await
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        let delay = millis(delay).to_string();
        self.consume(topic, leases, "retry", &delay).await
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        self.consume(topic, leases, "dead", &reason).await
    }

    async fn dead(&self, topic: Topic, query: &DeadQuery) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        let mut pages = DeadPages::after(query.after);
        while letters.len() < query.limit {
            let Some(page) = self.dead_page(topic, &mut pages).await? else {
                break;
            };
            letters.extend(
                page.into_iter()
                    .filter(|letter| query.filter.matches(letter)),
            );
        }
        letters.truncate(query.limit);
        Ok(letters)
    }

    async fn dead_summary(
        &self,
        topic: Topic,
        filter: &DeadFilter,
        groups: usize,
    ) -> Result<DeadSummary, Error> {
        let query = DeadQuery {
            filter: filter.clone(),
            ..DeadQuery::latest(COUNT_LIMIT as usize)
        };
        Ok(DeadSummary::of(self.dead(topic, &query).await?, groups))
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let mut redriven = 0;
        for orders in orders.chunks(SLICE) {
            let mut redrive = REDRIVE.prepare_invoke();
            for name in ["stream", "known", "dead", "reasons"] {
                redrive.key(key(topic, name));
            }
            for order in orders {
                redrive.arg(hex(*order));
            }
            redriven += self.script::<usize>(topic, "redrive", &redrive).await?;
        }
        Ok(redriven)
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        let mut set = redis::cmd("SET");
        let set = set.arg(key(topic, "paused")).arg(1);
        self.client.command("pause", set).await
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        let mut delete = redis::cmd("DEL");
        let delete = delete.arg(key(topic, "paused"));
        self.client.command("resume", delete).await
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        let mut stats = STATS.prepare_invoke();
        for name in ["stream", "delayed", "dead", "paused"] {
            stats.key(key(topic, name));
        }
        let [waiting, in_flight, delayed, dead, oldest_age_ms, paused]: [u64; 6] =
            self.script(topic, "stats", stats.arg(GROUP)).await?;
        Ok(QueueStats {
            waiting,
            scheduled: 0,
            in_flight,
            delayed,
            dead,
            oldest_age_seconds: Duration::from_millis(oldest_age_ms).as_secs_f64(),
            paused: paused == 1,
            capped: false,
        })
    }
}

/// As many as Redis takes for a count.
fn count(wanted: usize) -> usize {
    const MOST: usize = 1_000_000;
    wanted.min(MOST)
}
