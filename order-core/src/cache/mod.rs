//! The cache of product reads: never needed, and never wrong for long.
//!
//! - **Versioned**: an entry is only ever replaced by a newer version of the product, so that
//!   a reader that was slow between the database and the cache cannot bring an old one back.
//! - **Written after the commit**: each change of a product, by a sale too, puts its new state.
//! - **Single flight**: many misses for one product make one query.
//! - **Optional**: a cache that fails is passed by. Invalidations that it did not take are kept and
//!   handed over later, and until then reads of those products go to the database. Past a bound, it
//!   has to forget everything instead.

mod cached_store;
mod delegate;
mod entry;
mod local;
mod pending_invalidations;
mod product_cache;
#[cfg(feature = "redis")]
mod redis;
mod stats;
#[cfg(all(test, feature = "testing"))]
mod tests;

pub use cached_store::CachedStore;
pub use entry::Entry;
pub use local::LocalCache;
pub use product_cache::{CacheMark, ProductCache};
#[cfg(feature = "redis")]
pub use redis::RedisCache;
pub use stats::{CacheStats, CacheStatus};
