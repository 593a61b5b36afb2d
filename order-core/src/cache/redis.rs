//! The cache in Redis, shared by all servers.
//!
//! | `orders:product:{NN}:` | |
//! |---|---|
//! | `<id>` | an epoch, the version of the product, and the product as JSON |
//! | `epoch` | the epoch in which entries are served; missing, it is 0 |
//!
//! `NN` are two digits that follow from the id: a cluster spreads them over its nodes, and keeps
//! an entry on the same one as its epoch, so that one command reads both.
//!
//! **To forget everything** is to begin a new epoch, a number that was never used. From then on:
//!
//! - What was put before is not served, since its epoch is another.
//! - Who began to read before and puts what it read after, cannot bring an old state back. What
//!   it puts carries the epoch that it knew when it began. Where that is not the current one any
//!   more, the script keeps only that there is at least this version, and nothing to be served.
//! - Where it is the current one, the reader had heard of the epoch before it began: it began
//!   after the epoch did, and so after the changes for whose sake everything was forgotten.
//!
//! A process hears of an epoch with each answer. That it heard of one while somebody was reading
//! is told by how often that happened, which is what the mark of a reader holds.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::Script;

use super::{CacheMark, Entry, ProductCache};
use crate::{
    domain::ProductId,
    error::Error,
    redis_client::{RedisClient, millis},
};

static PUT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("put.lua")));

/// The number of epochs over which entries are spread.
const SHARDS: usize = 64;
/// The most entries that one script puts: far less than a tenth of what an answer may take.
const SLICE: usize = 100;
/// The most scripts that may be under way at once, for one caller.
const SLICES_AT_ONCE: usize = 8;

/// The epochs that a process knows.
#[derive(Debug)]
struct Epochs {
    known: [AtomicU64; SHARDS],
    /// The number of times that it heard of another one than it knew.
    changes: AtomicU64,
}

impl Epochs {
    /// Counted before it is known: who sees the new one sees that it was counted.
    fn hear(&self, shard: usize, epoch: u64) {
        let known = &self.known[shard];
        if known.load(Ordering::SeqCst) != epoch {
            self.changes.fetch_add(1, Ordering::SeqCst);
            known.store(epoch, Ordering::SeqCst);
        }
    }

    /// The epoch for what was begun at `mark`; `None` when another began since.
    fn since(&self, mark: CacheMark, shard: usize) -> Option<u64> {
        let epoch = self.known[shard].load(Ordering::SeqCst);
        (self.changes.load(Ordering::SeqCst) == mark.generation).then_some(epoch)
    }
}

/// A cache in Redis.
#[derive(Clone, Debug)]
pub struct RedisCache {
    client: RedisClient,
    ttl: Duration,
    epochs: Arc<Epochs>,
}

impl RedisCache {
    /// A cache whose entries live for `ttl`.
    #[must_use]
    pub fn new(client: RedisClient, ttl: Duration) -> Self {
        Self {
            client: client.for_purpose("cache"),
            ttl,
            epochs: Arc::new(Epochs {
                known: [const { AtomicU64::new(0) }; SHARDS],
                changes: AtomicU64::new(0),
            }),
        }
    }

    async fn put_slice(
        &self,
        shard: usize,
        entries: &[&Entry],
        mark: CacheMark,
    ) -> Result<(), Error> {
        let ttl_ms = millis(self.ttl).max(1);
        let epoch = self.epochs.since(mark, shard);
        let mut put = PUT.prepare_invoke();
        put.key(epoch_key(shard));
        // No epoch has this name.
        put.arg(epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()));
        put.arg(ttl_ms);
        for entry in entries {
            let json = match entry {
                Entry::Active(product) => serde_json::to_string(product).map_err(Error::backend)?,
                Entry::Outdated { .. } => "-".to_owned(),
                Entry::Archived(_) => String::new(),
            };
            put.key(key(entry.id())).arg(entry.version()).arg(json);
        }
        let epoch: String = self.client.script("put", &put).await?;
        self.epochs.hear(shard, epoch.parse().unwrap_or(0));
        Ok(())
    }

    async fn begin_epoch(&self, shard: usize, epoch: u64) -> Result<(), Error> {
        let mut set = redis::cmd("SET");
        set.arg(epoch_key(shard)).arg(epoch);
        self.client.command::<()>("clear", &set).await?;
        self.epochs.hear(shard, epoch);
        Ok(())
    }
}

#[async_trait]
impl ProductCache for RedisCache {
    fn mark(&self) -> CacheMark {
        CacheMark::of(self.epochs.changes.load(Ordering::SeqCst))
    }

    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error> {
        let shard = shard(id);
        let mut get = redis::cmd("MGET");
        get.arg(epoch_key(shard)).arg(key(id));
        let (epoch, kept): (Option<String>, Option<String>) =
            self.client.command("get", &get).await?;
        let epoch = epoch.and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        self.epochs.hear(shard, epoch);
        // What cannot be read is as good as nothing: it is read from the database instead.
        Ok(kept.and_then(|kept| read(id, epoch, &kept)))
    }

    async fn put(&self, entries: &[Entry], mark: CacheMark) -> Result<(), Error> {
        let mut shards: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            shards.entry(shard(entry.id())).or_default().push(entry);
        }
        let slices: Vec<_> = shards
            .iter()
            .flat_map(|(shard, entries)| entries.chunks(SLICE).map(|slice| (*shard, slice)))
            .map(|(shard, slice)| self.put_slice(shard, slice, mark))
            .collect();
        stream::iter(slices)
            .buffer_unordered(SLICES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn clear(&self) -> Result<(), Error> {
        // 0 is that of a Redis that has none.
        let epoch = rand::random::<u64>().max(1);
        let begin: Vec<_> = (0..SHARDS)
            .map(|shard| self.begin_epoch(shard, epoch))
            .collect();
        stream::iter(begin)
            .buffer_unordered(SLICES_AT_ONCE)
            .try_collect()
            .await
    }

    fn entries(&self) -> Option<u64> {
        None
    }
}

fn shard(id: ProductId) -> usize {
    // The last bits of an id are random.
    usize::from(id.0.as_bytes()[15]) % SHARDS
}

fn key(id: ProductId) -> String {
    format!("orders:product:{{{:02}}}:{id}", shard(id))
}

fn epoch_key(shard: usize) -> String {
    format!("orders:product:{{{shard:02}}}:epoch")
}

fn read(id: ProductId, epoch: u64, kept: &str) -> Option<Entry> {
    let (put_in, kept) = kept.split_once(':')?;
    let (_, json) = kept.split_once(' ')?;
    if put_in.parse() != Ok(epoch) || json == "-" {
        return None;
    }
    if json.is_empty() {
        return Some(Entry::Archived(id));
    }
    serde_json::from_str(json).ok().map(Entry::Active)
}
