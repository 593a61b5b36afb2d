//! Who calls, and what they may do.
//!
//! Every request is looked up in a [`KeyRing`] in memory, so that asking costs no query, and
//! carries its [`Caller`] from there on. Each operation names what it needs with a parameter
//! of a type like [`WriteOrders`], which is also what describes it to OpenAPI.
//!
//! | | needs one of |
//! |---|---|
//! | reading products | `read`, `products`, `admin` |
//! | changing products | `products`, `admin` |
//! | reading orders | `read`, `orders`, `admin` |
//! | placing and cancelling orders | `orders`, `admin` |
//! | looking at figures, queue, workers, attempts and metrics | `read`, `admin` |
//! | what operators do | `admin` |
//! | health, documents | nothing, not even a key |

mod holder;
mod identify;
mod needs;
mod ring;

pub use holder::Holder;
pub(crate) use identify::Identify;
pub use needs::{
    AnyKey, Inspect, Needs, Operate, ReadOrders, ReadProducts, WriteOrders, WriteProducts,
};
pub use ring::{Caller, KeyRing};
