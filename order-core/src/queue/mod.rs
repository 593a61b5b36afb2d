//! The queue: it names the orders that somebody should look at next.
//!
//! A queue carries ids, never truth. It may lose everything or deliver twice; the order's
//! state in the store decides what is still to do, and the sweeper offers again what a
//! queue lost. A claim is a lease: what is not consumed until it ends is claimed by others.
//!
//! ```text
//! push ─► waiting ─► claimed ─┬─► ack ─► gone
//!            ▲   ▲            ├─► retry(delay) ─► delayed ─┐
//!            │   └────────────┤ lease ran out              │
//!            └────────────────┼────────────────────────────┘
//!                             └─► dead_letter(reason) ─► dead ─► redrive ─► waiting
//! ```

mod dead;
mod entry;
mod order_queue;
#[cfg(feature = "redis")]
mod redis;
mod stats;
mod topic;

#[cfg(feature = "redis")]
pub use self::redis::RedisQueue;
pub use dead::{DeadFilter, DeadGroup, DeadPlace, DeadQuery, DeadSummary};
pub use entry::{DeadLetter, Lease};
pub use order_queue::OrderQueue;
pub use stats::{COUNT_LIMIT, QueueStats};
pub use topic::Topic;
