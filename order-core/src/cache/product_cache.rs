//! The trait of a cache.

use async_trait::async_trait;
use tokio::time::Instant;

use super::Entry;
use crate::{domain::ProductId, error::Error};

/// The beginning of a read or of a change, as its cache sees it. It is taken before, and handed to
/// the cache with the result.
#[derive(Clone, Copy, Debug)]
pub struct CacheMark {
    /// The time at which it began.
    pub began: Instant,
    /// The number by which the cache knows if it had to forget everything since.
    pub generation: u64,
}

impl CacheMark {
    /// The mark of what begins now.
    #[must_use]
    pub fn of(generation: u64) -> Self {
        Self {
            began: Instant::now(),
            generation,
        }
    }
}

/// A cache that keeps products for a while.
#[async_trait]
pub trait ProductCache: Send + Sync {
    /// The mark of what begins now. A cache that never fails has no generations.
    fn mark(&self) -> CacheMark {
        CacheMark::of(0)
    }

    /// The entry that is kept for a product and may be served.
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error>;

    /// Keeps entries; one that is there at the same version or a newer one stays. They come from a
    /// read or a change that began at `mark`. An entry that is put after [`clear`](Self::clear) and
    /// whose mark is older is not served.
    async fn put(&self, entries: &[Entry], mark: CacheMark) -> Result<(), Error>;

    /// Forgets everything, for all who share the cache.
    async fn clear(&self) -> Result<(), Error>;

    /// The number of entries that are kept, where that is known.
    fn entries(&self) -> Option<u64>;
}
