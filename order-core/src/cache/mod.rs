//! The cache of product reads: never needed, and never wrong for long.
//!
//! - **Versioned**: an entry is only ever replaced by a newer version of the product, so that
//!   a reader that was slow between the database and the cache cannot bring an old one back.
//! - **Told after the commit**: whoever changes a product, by a sale too, puts its new state.
//! - **Single flight**: many misses for one product make one query.
//! - **Optional**: a cache that fails is passed by. What it could not be told is kept and told
//!   later, and until then reads of those products go to the database. Past a bound, it has to
//!   forget everything instead.

mod cached_store;
mod delegate;
mod local;
mod pending;
mod redis;
#[cfg(all(test, feature = "testing"))]
mod tests;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{
    domain::{Product, ProductId},
    error::Error,
};

pub use cached_store::{CacheStats, CacheStatus, CachedStore};
pub use local::LocalCache;
pub use redis::RedisCache;

/// What a cache holds for a product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The product, at its version.
    Living(Product),
    /// The product changed: what is older than `version` is not served, and nothing else is known.
    Outdated {
        /// Whose entry it is.
        id: ProductId,
        /// The version that the product has at least.
        version: i64,
    },
    /// The product is archived: nothing is newer than that.
    Archived(ProductId),
}

impl Entry {
    /// Whose entry it is.
    #[must_use]
    pub const fn id(&self) -> ProductId {
        match self {
            Self::Living(product) => product.id,
            Self::Outdated { id, .. } | Self::Archived(id) => *id,
        }
    }

    /// What orders the entries of one product. Versions stay far below 2^53, which is what a
    /// Redis script can compare exactly.
    pub(crate) const fn version(&self) -> i64 {
        match self {
            Self::Living(product) => product.version,
            Self::Outdated { version, .. } => *version,
            Self::Archived(_) => 1 << 53,
        }
    }
}

/// When a read or a change began, as its cache sees it: to be taken before, and handed to the cache
/// with what came of it.
#[derive(Clone, Copy, Debug)]
pub struct CacheMark {
    /// When it began.
    pub began: Instant,
    /// What tells the cache whether it had to forget everything since.
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

/// Keeps products for a while.
#[async_trait]
pub trait ProductCache: Send + Sync {
    /// The mark of what begins now. A cache that never fails has no generations.
    fn mark(&self) -> CacheMark {
        CacheMark::of(0)
    }

    /// What is kept for a product, and may be served.
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error>;

    /// Keeps entries; one that is there at the same version or a newer one stays. They come from
    /// what began at `mark`. What is put after [`clear`](Self::clear), and began before it, is
    /// not served.
    async fn put(&self, entries: &[Entry], mark: CacheMark) -> Result<(), Error>;

    /// Forgets everything, for whoever shares the cache.
    async fn clear(&self) -> Result<(), Error>;

    /// How many entries are kept, where that is known.
    fn entries(&self) -> Option<u64>;
}
