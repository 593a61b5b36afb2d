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
//! | reading orders | `read`, `admin`; `orders` those of its client |
//! | placing and cancelling orders | `admin`; `orders` those of its client |
//! | looking at figures, queue, workers and attempts | `read`, `operate`, `admin` |
//! | scraping metrics | `read`, `metrics`, `admin` |
//! | what operators do | `operate`, `admin` |
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
    AnyKey, Inspect, Operate, ReadOrders, ReadProducts, RequireScope, Scrape, WriteOrders,
    WriteProducts,
};
pub use until_end::UntilEnd;
