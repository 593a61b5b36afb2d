//! The cache inside the process. It does not learn of changes by other processes, so that it serves
//! an entry for a second at most after the query that read it began: that is how old a read can
//! be when a product is changed elsewhere. A hot product costs one query a second.

use std::time::Duration;

use async_trait::async_trait;
use moka::{future::Cache, ops::compute::Op};
use tokio::time::Instant;

use super::{CacheMark, Entry, ProductCache};
use crate::{domain::ProductId, error::Error};

/// The longest that an entry is kept.
const LONGEST: Duration = Duration::from_secs(1);
/// The most products that are kept.
const CAPACITY: u64 = 100_000;

/// An entry, and when the query or the change that it comes from began.
#[derive(Clone, Debug)]
struct Kept {
    entry: Entry,
    began: Instant,
}

/// A cache inside the process.
#[derive(Clone, Debug)]
pub struct LocalCache {
    ttl: Duration,
    entries: Cache<ProductId, Kept>,
}

impl LocalCache {
    /// A cache whose entries live for `ttl`, and never longer than a second.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        let ttl = ttl.min(LONGEST);
        Self {
            ttl,
            // It counts from the put, which is later: this only frees the memory.
            entries: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(ttl)
                .build(),
        }
    }
}

#[async_trait]
impl ProductCache for LocalCache {
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error> {
        let kept = self.entries.get(&id).await;
        let fresh = kept.filter(|kept| kept.began.elapsed() < self.ttl);
        Ok(fresh.map(|kept| kept.entry))
    }

    async fn put(&self, entries: &[Entry], mark: CacheMark) -> Result<(), Error> {
        for entry in entries {
            let newest = Kept {
                entry: entry.clone(),
                began: mark.began,
            };
            // The same version again is the same state, seen later.
            let age = |kept: &Kept| (kept.entry.version(), kept.began);
            let newer = async |kept: Option<moka::Entry<ProductId, Kept>>| match kept {
                Some(kept) if age(kept.value()) >= age(&newest) => Op::Nop,
                _ => Op::Put(newest.clone()),
            };
            self.entries.entry(entry.id()).and_compute_with(newer).await;
        }
        Ok(())
    }

    async fn clear(&self) -> Result<(), Error> {
        self.entries.invalidate_all();
        Ok(())
    }

    fn entries(&self) -> Option<u64> {
        Some(self.entries.entry_count())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// The time counts from when the query began, however long it took, and from the last one.
    #[tokio::test(start_paused = true)]
    async fn an_entry_is_served_for_a_second_after_its_query_began() {
        let cache = LocalCache::new(Duration::from_secs(300));
        let id = ProductId(Uuid::nil());
        let serves = async || cache.get(id).await.unwrap().is_some();
        let entry = Entry::Outdated { id, version: 1 };
        let began = cache.mark();
        tokio::time::advance(Duration::from_millis(900)).await;
        cache
            .put(std::slice::from_ref(&entry), began)
            .await
            .unwrap();
        assert!(serves().await);
        tokio::time::advance(Duration::from_millis(99)).await;
        assert!(serves().await);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!serves().await, "1 s after the query began");
        let again = cache.mark();
        cache
            .put(std::slice::from_ref(&entry), again)
            .await
            .unwrap();
        cache
            .put(std::slice::from_ref(&entry), began)
            .await
            .unwrap();
        tokio::time::advance(Duration::from_millis(999)).await;
        assert!(serves().await, "the same state was seen again");
    }
}
