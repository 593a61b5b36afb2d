//! The cache of product reads: never needed, and never wrong for long.
//!
//! - **Versioned**: an entry is only ever replaced by a newer version of the product, so that
//!   a reader that was slow between the database and the cache cannot bring an old one back.
//! - **Told after the commit**: whoever changes a product, by a sale too, puts its new state.
//! - **Single flight**: many misses for one product make one query.
//! - **Optional**: a cache that fails is passed by. What it could not be told is kept and told
//!   later, and until then reads of those products go to the database.

mod cached_store;
mod delegate;
mod local;
mod redis;

use async_trait::async_trait;

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
    /// The product is archived: nothing is newer than that.
    Archived(ProductId),
}

impl Entry {
    /// Whose entry it is.
    #[must_use]
    pub const fn id(&self) -> ProductId {
        match self {
            Self::Living(product) => product.id,
            Self::Archived(id) => *id,
        }
    }

    /// What orders the entries of one product. Versions stay far below 2^53, which is what a
    /// Redis script can compare exactly.
    pub(crate) const fn version(&self) -> i64 {
        match self {
            Self::Living(product) => product.version,
            Self::Archived(_) => 1 << 53,
        }
    }
}

/// Keeps products for a while.
#[async_trait]
pub trait ProductCache: Send + Sync {
    /// What is kept for a product.
    async fn get(&self, id: ProductId) -> Result<Option<Entry>, Error>;

    /// Keeps entries; one that is there at the same version or a newer one stays.
    async fn put(&self, entries: &[Entry]) -> Result<(), Error>;

    /// How many entries are kept, where that is known.
    fn entries(&self) -> Option<u64>;
}
