//! API keys: the callers that they identify, and the scopes that operations require.
//!
//! Every request is looked up in a [`KeyCache`] in memory, so that authentication costs no query,
//! and carries its [`Caller`] from there on. Each operation names the scope that it requires with
//! a parameter of a type like [`WriteOrders`], which also describes it to OpenAPI.
//!
//! | | requires one of |
//! |---|---|
//! | reading products | `read`, `products`, `admin` |
//! | changing products | `products`, `admin` |
//! | reading orders | `read`, `orders`, `admin` |
//! | placing and cancelling orders | `orders`, `admin` |
//! | looking at figures, queue, workers, attempts and metrics | `read`, `admin` |
//! | what operators do | `admin` |
//! | health, documents | nothing, not even a key |

mod authenticated_key;
mod caller;
mod key_cache;
mod require_scope;
mod until_end;

pub use authenticated_key::AuthenticatedKey;
pub use caller::Caller;
pub use key_cache::KeyCache;
pub use require_scope::{
    AnyKey, Inspect, Operate, ReadOrders, ReadProducts, RequireScope, WriteOrders, WriteProducts,
};
pub use until_end::UntilEnd;
