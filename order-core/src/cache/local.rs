//! The cache inside the process. Nobody tells it what other processes change, so that it
//! keeps an entry for a second at most: that is how old a read can be when a product is
//! changed elsewhere. A hot product costs one query a second.

use std::time::Duration;

use async_trait::async_trait;
use moka::{future::Cache, ops::compute::Op};

use super::{Entry, ProductCache};
use crate::{domain::ProductId, error::Error};

/// How long an entry is kept at most.
const LONGEST: Duration = Duration::from_secs(1);
/// How many products are kept at most.
const CAPACITY: u64 = 100_000;

/// A cache inside the process.
#[derive(Clone, Debug)]
pub struct LocalCache {
    entries: Cache<ProductId, Entry>,
}

impl LocalCache {
    /// A cache whose entries live for `ttl`, and never longer than a second.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            entries: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(ttl.min(LONGEST))
                .build(),
        }
    }
}

#[async_trait]
impl ProductCache for LocalCache {
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error> {
        Ok(self.entries.get(&id).await)
    }

    async fn put(&self, entries: &[Entry]) -> Result<(), Error> {
        for entry in entries {
            let newer = async |kept: Option<moka::Entry<ProductId, Entry>>| match kept {
                Some(kept) if kept.value().version() >= entry.version() => Op::Nop,
                _ => Op::Put(entry.clone()),
            };
            self.entries.entry(entry.id()).and_compute_with(newer).await;
        }
        Ok(())
    }

    fn entries(&self) -> Option<u64> {
        Some(self.entries.entry_count())
    }
}
