//! The source of a read, and the counts of all reads.

use serde::Serialize;

/// The source of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// From the cache.
    Hit,
    /// From the database, and the cache keeps it now.
    Miss,
    /// From the database: the cache is away, or does not know of a change yet.
    Bypass,
}

impl CacheStatus {
    /// Its name in the `X-Cache` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// The reads of a cache since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CacheStats {
    /// Reads that the cache answered.
    pub hits: u64,
    /// Reads that it could not answer.
    pub misses: u64,
    /// Hits over hits and misses; 0 before the first read.
    pub ratio: f64,
    /// Calls that failed.
    pub errors: u64,
    /// Entries that are kept, where that is known.
    pub entries: Option<u64>,
}
