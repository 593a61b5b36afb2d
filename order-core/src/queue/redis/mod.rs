//! Redis Streams as an order queue, on one server or a cluster.
//!
//! Of each topic there are these keys, which share the hash tag `{orders}` so that they are in
//! one slot of a cluster and a script may touch them all; every move of several steps is one
//! script.
//!
//! | `{orders}:<topic>:` | | lives |
//! |---|---|---|
//! | `stream` | entries that wait, and those that are claimed | until consumed |
//! | `known` | hash: order to its entry, or to `delayed:attempts` | until consumed |
//! | `delayed` | sorted set: `order:attempts`, by when to claim them again | until due |
//! | `dead` | sorted set: orders that were given up, by when | until redriven |
//! | `reasons` | hash: order to `attempts reason` | as long as `dead` |
//! | `paused` | exists while the topic gives out nothing | until resumed |
//! | `malformed` | list: the last 1 000 entries that could not be read | |
//! | `sweeper` | who sweeps | until it does no more, for some seconds |
//!
//! Whatever lies before the oldest claim is trimmed, so that the stream holds what is to do,
//! and of what is done no more than was claimed after an entry that is still in work. Time is
//! that of the Redis server: what several workers say about leases cannot disagree.

use std::{
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::DateTime;
use redis::{
    FromRedisValue, Script, ScriptInvocation,
    streams::{StreamInfoConsumersReply, StreamReadReply},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{DeadLetter, Lease, OrderQueue, QueueStats, Topic};
use crate::{
    clock::{Clock, SystemClock},
    domain::{IdGenerator, OrderId},
    error::Error,
    redis_client::RedisClient,
    store::span_micros,
};

macro_rules! scripts {
    ($($name:ident: $file:literal),+ $(,)?) => {
        $(static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));)+
    };
}

scripts! {
    PUSH: "push.lua",
    CLAIM: "claim.lua",
    CONSUME: "consume.lua",
    REDRIVE: "redrive.lua",
    STATS: "stats.lua",
    SWEEP: "sweep.lua",
}

/// The consumer group of every topic.
const GROUP: &str = "workers";
/// What the keys of a topic hold.
const KEYS: [(&str, &str); 8] = [
    ("stream", "stream"),
    ("known", "hash"),
    ("delayed", "zset"),
    ("dead", "zset"),
    ("reasons", "hash"),
    ("paused", "string"),
    ("malformed", "list"),
    ("sweeper", "string"),
];
/// The most entries that one call is about: an answer comes well within its limit.
const SLICE: usize = 1_000;
/// The most entries that are claimed at once.
const MAX_CLAIMED: usize = 10_000;
/// How much of the reason is kept why an order was given up.
const MAX_REASON_CHARS: usize = 2_000;
/// How long a claim waits for an entry at most.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// After how long a consumer that holds nothing and asks for nothing is forgotten.
const CONSUMER_LIFE_MS: usize = 3_600_000;

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
    is_checked: AtomicBool,
    /// The key that was said last to hold something else than it should.
    wrong_key: Mutex<Option<String>>,
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
            is_checked: AtomicBool::new(false),
            wrong_key: Mutex::default(),
        }
    }

    /// Once, when Redis first answers: warns when it may evict the queue, and forgets the
    /// consumers that processes left behind.
    async fn check_once(&self, topic: Topic) -> Result<(), Error> {
        if self.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut config = redis::cmd("CONFIG");
        let policy = self
            .client
            .try_command::<Vec<String>>(config.arg("GET").arg("maxmemory-policy"))
            .await;
        match policy.as_deref() {
            Ok([_, policy]) if policy != "noeviction" => tracing::warn!(
                %policy,
                "maxmemory-policy lets Redis evict the queue: orders are found again by the \
                 sweeper, late; set it to noeviction"
            ),
            Err(Error::Unavailable { .. }) => return policy.map(drop),
            // Managed servers may refuse to tell.
            _ => {}
        }
        let mut info = redis::cmd("XINFO");
        info.arg("CONSUMERS").arg(key(topic, "stream")).arg(GROUP);
        // Fails when there is no stream yet.
        let consumers = self
            .client
            .try_command::<StreamInfoConsumersReply>(&info)
            .await;
        for consumer in consumers.map(|reply| reply.consumers).unwrap_or_default() {
            if consumer.pending == 0 && consumer.idle > CONSUMER_LIFE_MS {
                let mut forget = redis::cmd("XGROUP");
                forget
                    .arg("DELCONSUMER")
                    .arg(key(topic, "stream"))
                    .arg(GROUP);
                let forget = forget.arg(consumer.name);
                self.client.try_command::<()>(forget).await?;
            }
        }
        self.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn script<T: FromRedisValue>(
        &self,
        topic: Topic,
        operation: &'static str,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        let answer = self.client.script(operation, invocation).await;
        if answer.as_ref().is_err_and(RedisClient::is_wrong_type) {
            self.name_wrong_key(topic).await;
        }
        answer
    }

    /// Says which key holds what the queue did not put there, once.
    async fn name_wrong_key(&self, topic: Topic) {
        for (name, expected) in KEYS {
            let (key, mut what) = (key(topic, name), redis::cmd("TYPE"));
            let Ok(holds) = self.client.try_command::<String>(what.arg(&key)).await else {
                return;
            };
            if holds == expected || holds == "none" {
                continue;
            }
            let mut told = self
                .wrong_key
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if told.as_ref() != Some(&key) {
                tracing::warn!(
                    key,
                    holds,
                    expected,
                    "a key of the queue holds something else: move it away"
                );
                *told = Some(key);
            }
            return;
        }
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

    /// The reasons why these orders were given up.
    async fn reasons(&self, topic: Topic, orders: &[(String, i64)]) -> Result<Vec<String>, Error> {
        let mut get = redis::cmd("HMGET");
        get.arg(key(topic, "reasons"));
        for (order, _) in orders {
            get.arg(order);
        }
        let reasons: Vec<Option<String>> = self.client.command("dead letters", &get).await?;
        Ok(reasons.into_iter().map(Option::unwrap_or_default).collect())
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
        self.check_once(topic).await?;
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

    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        while letters.len() < limit {
            let (first, count) = (letters.len(), SLICE.min(limit - letters.len()));
            let mut latest = redis::cmd("ZREVRANGE");
            latest
                .arg(key(topic, "dead"))
                .arg(first)
                .arg(first + count - 1)
                .arg("WITHSCORES");
            let dead: Vec<(String, i64)> = self.client.command("dead letters", &latest).await?;
            if dead.is_empty() {
                break;
            }
            let reasons = self.reasons(topic, &dead).await?;
            let told = dead.iter().zip(reasons);
            letters
                .extend(told.map(|((order, at_ms), reason)| dead_letter(order, *at_ms, &reason)));
        }
        Ok(letters.into_iter().flatten().collect())
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
            in_flight,
            delayed,
            dead,
            oldest_age_seconds: Duration::from_millis(oldest_age_ms).as_secs_f64(),
            paused: paused == 1,
            capped: false,
        })
    }
}

/// An order that was given up; `None` when it cannot be read.
fn dead_letter(order: &str, at_ms: i64, reason: &str) -> Option<DeadLetter> {
    let (attempts, reason) = reason.split_once(' ').unwrap_or(("0", ""));
    Some(DeadLetter {
        order_id: OrderId(Uuid::try_parse(order).ok()?),
        reason: reason.to_owned(),
        attempts: attempts.parse().unwrap_or(0),
        dead_at: DateTime::from_timestamp_millis(at_ms)?,
    })
}

fn key(topic: Topic, name: &str) -> String {
    format!("{{orders}}:{}:{name}", topic.as_str())
}

fn hex(order: OrderId) -> String {
    order.0.simple().to_string()
}

/// As far as Redis can add it to a time of ours.
fn millis(duration: Duration) -> i64 {
    span_micros(duration) / 1_000
}

/// As many as Redis takes for a count.
fn count(wanted: usize) -> usize {
    const MOST: usize = 1_000_000;
    wanted.min(MOST)
}

/// A claim is an entry and how often it was delivered; both go into the claim's id: 48 bits
/// of the entry's time in ms, 48 of its number within the ms, 32 of deliveries.
fn lease(entry: &str, order: &str, attempts_before: u32, deliveries: u32) -> Option<Lease> {
    let (ms, number) = entry.split_once('-')?;
    let (ms, number): (u128, u128) = (ms.parse().ok()?, number.parse().ok()?);
    let claim_id = (ms << 80) | ((number & 0xffff_ffff_ffff) << 32) | u128::from(deliveries);
    Some(Lease {
        order_id: OrderId(Uuid::try_parse(order).ok()?),
        attempts: attempts_before + deliveries,
        claim_id: Uuid::from_u128(claim_id),
    })
}

/// The entry and the deliveries of a claim.
fn entry_of(claim_id: Uuid) -> (String, u32) {
    let bits = claim_id.as_u128();
    let entry = format!("{}-{}", bits >> 80, (bits >> 32) & 0xffff_ffff_ffff);
    #[allow(clippy::cast_possible_truncation)] // The low 32 bits are what is wanted.
    let deliveries = bits as u32;
    (entry, deliveries)
}
