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
//!
//! Whatever lies before the oldest claim is trimmed, so that the stream holds what is to do,
//! and of what is done no more than was claimed after an entry that is still in work. Time is
//! that of the Redis server: what several workers say about leases cannot disagree.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::DateTime;
use redis::{
    Script,
    streams::{StreamInfoConsumersReply, StreamReadReply},
};
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
}

/// The consumer group of every topic.
const GROUP: &str = "workers";
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
    /// This process, as a member of the group.
    consumer: String,
    is_checked: AtomicBool,
}

impl RedisQueue {
    /// A queue over `client`. Does not connect yet.
    #[must_use]
    pub fn new(client: RedisClient) -> Self {
        let id = IdGenerator::default().next(SystemClock.now());
        Self {
            waiting: client.for_waiting(LONGEST_WAIT + Duration::from_secs(1)),
            client,
            consumer: format!("{}-{id}", std::process::id()),
            is_checked: AtomicBool::new(false),
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
            .command::<Vec<String>>(config.arg("GET").arg("maxmemory-policy"))
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
        let consumers = self.client.command::<StreamInfoConsumersReply>(&info).await;
        for consumer in consumers.map(|reply| reply.consumers).unwrap_or_default() {
            if consumer.pending == 0 && consumer.idle > CONSUMER_LIFE_MS {
                let mut forget = redis::cmd("XGROUP");
                forget
                    .arg("DELCONSUMER")
                    .arg(key(topic, "stream"))
                    .arg(GROUP);
                self.client.command::<()>(forget.arg(consumer.name)).await?;
            }
        }
        self.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Waits for new entries; what comes is claimed.
    async fn wait_for_new(
        &self,
        topic: Topic,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.consumer);
        read.arg("COUNT")
            .arg(count(max))
            .arg("BLOCK")
            .arg(millis(wait.min(LONGEST_WAIT)));
        read.arg("STREAMS").arg(key(topic, "stream")).arg(">");
        let reply: Result<Option<StreamReadReply>, Error> = self.waiting.command(&read).await;
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
        leases: &[Lease],
        what: &str,
        argument: &str,
    ) -> Result<usize, Error> {
        let mut consume = CONSUME.prepare_invoke();
        for name in ["stream", "known", "delayed", "dead", "reasons"] {
            consume.key(key(topic, name));
        }
        consume
            .arg(GROUP)
            .arg(&self.consumer)
            .arg(what)
            .arg(argument);
        // By entry, which is the order of the bits of a claim's id.
        let mut leases = leases.to_vec();
        leases.sort_unstable_by_key(|lease| lease.claim_id);
        for lease in leases {
            let (entry, deliveries) = entry_of(lease.claim_id);
            consume.arg(entry).arg(deliveries);
            consume.arg(hex(lease.order_id)).arg(lease.attempts);
        }
        self.client.script(&consume).await
    }
}

#[async_trait]
impl OrderQueue for RedisQueue {
    async fn push(&self, topic: Topic, orders: &[OrderId]) -> Result<(), Error> {
        let mut push = PUSH.prepare_invoke();
        for name in ["stream", "known", "delayed", "dead"] {
            push.key(key(topic, name));
        }
        for order in orders {
            push.arg(hex(*order));
        }
        self.client.script(&push).await
    }

    async fn claim(
        &self,
        topic: Topic,
        max: usize,
        lease_for: Duration,
        wait: Duration,
    ) -> Result<Vec<Lease>, Error> {
        self.check_once(topic).await?;
        let mut claim = CLAIM.prepare_invoke();
        for name in ["stream", "known", "delayed", "paused", "malformed"] {
            claim.key(key(topic, name));
        }
        claim
            .arg(GROUP)
            .arg(&self.consumer)
            .arg(count(max))
            .arg(millis(lease_for));
        let claimed: Option<Vec<(String, String, u32, u32)>> = self.client.script(&claim).await?;
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
        self.consume(topic, &leases, "ack", "").await
    }

    async fn retry(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        delay: Duration,
    ) -> Result<usize, Error> {
        let delay = millis(delay).to_string();
        self.consume(topic, &leases, "retry", &delay).await
    }

    async fn dead_letter(
        &self,
        topic: Topic,
        leases: Vec<Lease>,
        reason: &str,
    ) -> Result<usize, Error> {
        self.consume(topic, &leases, "dead", reason).await
    }

    async fn dead(&self, topic: Topic, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut latest = redis::cmd("ZREVRANGE");
        latest
            .arg(key(topic, "dead"))
            .arg(0)
            .arg(count(limit) - 1)
            .arg("WITHSCORES");
        let dead: Vec<(String, i64)> = self.client.command(&latest).await?;
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        let mut reasons = redis::cmd("HMGET");
        reasons.arg(key(topic, "reasons"));
        for (order, _) in &dead {
            reasons.arg(order);
        }
        let reasons: Vec<Option<String>> = self.client.command(&reasons).await?;
        Ok(dead
            .iter()
            .zip(reasons)
            .filter_map(|((order, at_ms), reason)| {
                let reason = reason.unwrap_or_default();
                let (attempts, reason) = reason.split_once(' ').unwrap_or(("0", ""));
                Some(DeadLetter {
                    order_id: OrderId(Uuid::try_parse(order).ok()?),
                    reason: reason.to_owned(),
                    attempts: attempts.parse().unwrap_or(0),
                    dead_at: DateTime::from_timestamp_millis(*at_ms)?,
                })
            })
            .collect())
    }

    async fn redrive(&self, topic: Topic, orders: &[OrderId]) -> Result<usize, Error> {
        let mut redrive = REDRIVE.prepare_invoke();
        for name in ["stream", "known", "dead", "reasons"] {
            redrive.key(key(topic, name));
        }
        for order in orders {
            redrive.arg(hex(*order));
        }
        self.client.script(&redrive).await
    }

    async fn pause(&self, topic: Topic) -> Result<(), Error> {
        let mut set = redis::cmd("SET");
        self.client
            .command(set.arg(key(topic, "paused")).arg(1))
            .await
    }

    async fn resume(&self, topic: Topic) -> Result<(), Error> {
        let mut delete = redis::cmd("DEL");
        self.client.command(delete.arg(key(topic, "paused"))).await
    }

    async fn stats(&self, topic: Topic) -> Result<QueueStats, Error> {
        let mut stats = STATS.prepare_invoke();
        for name in ["stream", "delayed", "dead", "paused"] {
            stats.key(key(topic, name));
        }
        let [waiting, in_flight, delayed, dead, oldest_age_ms, paused]: [u64; 6] =
            self.client.script(stats.arg(GROUP)).await?;
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
