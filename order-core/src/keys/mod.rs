//! Keys of the API: they name the callers, and what each of them may do.
//!
//! A key belongs to a [`Client`], whose orders and idempotency keys stay when it gets another key.
//!
//! A key is 32 random bytes that its holder shows with every request. It is shown once, when
//! it is made; what is kept is its hash ([`KeyHash`]), a name, and what it allows
//! ([`Scopes`]). Keys are never deleted: a revoked one stays, with the time, so that it can
//! be told later who could do what, and so that revoking the last key opens nothing.

mod api_key;
mod client;
mod key_store;
mod scope;
mod secret;

pub use api_key::{ApiKey, HashedKey, KeyRequest};
pub use client::Client;
pub use key_store::{Access, KeyStore};
pub use scope::{Scope, Scopes};
pub use secret::{KeyHash, Secret};
