//! The cache in Redis, shared by all servers: `orders:product:<id>` holds a version and the
//! product as JSON. Keys have no hash tag, so that a cluster spreads them.

use std::{sync::LazyLock, time::Duration};

use async_trait::async_trait;
use futures_util::future::try_join_all;
use redis::Script;

use super::{Entry, ProductCache};
use crate::{domain::ProductId, error::Error, redis_client::RedisClient, store::span_micros};

static PUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("put.lua")));

/// A cache in Redis.
#[derive(Clone, Debug)]
pub struct RedisCache {
    client: RedisClient,
    ttl: Duration,
}

impl RedisCache {
    /// A cache whose entries live for `ttl`.
    #[must_use]
    pub fn new(client: RedisClient, ttl: Duration) -> Self {
        Self { client, ttl }
    }

    async fn put_one(&self, entry: &Entry) -> Result<(), Error> {
        let json = match entry {
            Entry::Living(product) => serde_json::to_string(product).map_err(Error::backend)?,
            Entry::Archived(_) => String::new(),
        };
        let ttl_ms = (span_micros(self.ttl) / 1_000).max(1);
        let mut put = PUT.prepare_invoke();
        put.key(key(entry.id()))
            .arg(entry.version())
            .arg(json)
            .arg(ttl_ms);
        self.client.script(&put).await
    }
}

#[async_trait]
impl ProductCache for RedisCache {
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error> {
        let kept: Option<String> = self.client.command(redis::cmd("GET").arg(key(id))).await?;
        // What cannot be read is as good as nothing: it is read from the database instead.
        Ok(kept.and_then(|kept| read(id, &kept)))
    }

    /// All at once over the one connection, which sends them together.
    async fn put(&self, entries: &[Entry]) -> Result<(), Error> {
        try_join_all(entries.iter().map(|entry| self.put_one(entry))).await?;
        Ok(())
    }

    fn entries(&self) -> Option<u64> {
        None
    }
}

fn key(id: ProductId) -> String {
    format!("orders:product:{id}")
}

fn read(id: ProductId, kept: &str) -> Option<Entry> {
    let (_, json) = kept.split_once(' ')?;
    if json.is_empty() {
        return Some(Entry::Archived(id));
    }
    serde_json::from_str(json).ok().map(Entry::Living)
}
