//! Redis Streams as an order queue, on one server or a cluster.
//!
//! Of each topic there are these keys, which share the hash tag `{orders}` so that they are in
//! one slot of a cluster and a script may touch them all; every move of several steps is one
//! script.
//!
//! | `{orders}:<topic>:` | | lives |
//! |---|---|---|
//! | `stream` | entries that wait, and those that are claimed | until consumed |
//! | `known` | hash: order to its entry, or to `delayed:attempts` | until consumed |
//! | `delayed` | sorted set: `order:attempts`, by when to claim them again | until due |
//! | `dead` | sorted set: orders that were given up, by when | until redriven |
//! | `reasons` | hash: order to `attempts reason` | as long as `dead` |
//! | `paused` | exists while the topic gives out nothing | until resumed |
//! | `malformed` | list: the last 1 000 entries that could not be read | |
//! | `sweeper` | who sweeps | until it does no more, for some seconds |
//!
//! Whatever lies before the oldest claim is trimmed, so that the stream holds what is to do,
//! and of what is done no more than was claimed after an entry that is still in work. Time is
//! that of the Redis server: what several workers say about leases cannot disagree.

mod checks;
mod claim_id;
mod dead_pages;
mod keys;
mod redis_queue;
mod scripts;

pub use redis_queue::RedisQueue;
