//! Checks of the server, which warn in the log.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use redis::streams::StreamInfoConsumersReply;

use super::keys::{GROUP, KEYS, key};
use crate::{error::Error, queue::Topic, redis_client::RedisClient, sync::lock};

/// The idle time after which a consumer that holds nothing is forgotten.
const CONSUMER_LIFE_MS: usize = 3_600_000;

/// The checks that were made, and the key that was warned of last.
#[derive(Debug, Default)]
pub(super) struct Checks {
    is_checked: AtomicBool,
    wrong_key: Mutex<Option<String>>,
}

impl Checks {
    /// Once, when Redis first answers: warns when it may evict the queue, and forgets the
    /// consumers that processes left behind.
    pub(super) async fn once(&self, client: &RedisClient, topic: Topic) -> Result<(), Error> {
        if self.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut config = redis::cmd("CONFIG");
        let policy = client
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
        let consumers = client.try_command::<StreamInfoConsumersReply>(&info).await;
        for consumer in consumers.map(|reply| reply.consumers).unwrap_or_default() {
            if consumer.pending == 0 && consumer.idle > CONSUMER_LIFE_MS {
                let mut forget = redis::cmd("XGROUP");
                forget
                    .arg("DELCONSUMER")
                    .arg(key(topic, "stream"))
                    .arg(GROUP);
                let forget = forget.arg(consumer.name);
                client.try_command::<()>(forget).await?;
            }
        }
        self.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Names in the log the key whose value is not the queue's, once.
    pub(super) async fn name_wrong_key(&self, client: &RedisClient, topic: Topic) {
        for (name, expected) in KEYS {
            let (key, mut what) = (key(topic, name), redis::cmd("TYPE"));
            let Ok(holds) = client.try_command::<String>(what.arg(&key)).await else {
                return;
            };
            if holds == expected || holds == "none" {
                continue;
            }
            let mut warned = lock(&self.wrong_key);
            if warned.as_ref() != Some(&key) {
                tracing::warn!(
                    key,
                    holds,
                    expected,
                    "a key of the queue holds something else: move it away"
                );
                *warned = Some(key);
            }
            return;
        }
    }
}
