//! A limit to the rate of each caller: each key for itself, and where there is no key, each
//! address.
//!
//! The algorithm is GCRA, a leaky bucket whose state is one atomic number: no lock, no task
//! that cleans up. The number of a key is kept with the key. Addresses share a table of fixed
//! size, so that nobody can fill the memory with addresses: two that meet in one slot are counted
//! together, and which two do is different in every process. The first 64 bits of an IPv6 address
//! count, which is what one customer of a provider has.
//!
//! Each server process counts for itself. The address is that of the connection, or what a trusted
//! proxy says: behind any other, all callers without a key are one.

mod buckets;
mod layer;
mod limiter;

pub(super) use layer::RateLimit;
