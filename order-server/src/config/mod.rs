//! Settings: flags over environment over `orders.toml` over defaults.

mod allowed_host;
mod bind_addr;
mod database;
mod explain;
mod exposure;
mod http_limits;
mod origin;
mod parse;
mod public_url;
mod redis;
#[cfg(test)]
mod samples;
mod schema;
mod settings;
mod tasks;
#[cfg(test)]
mod tests;
mod tls;
mod values;
mod worker;

pub use crate::http::network::Network;
pub use allowed_host::AllowedHost;
pub use bind_addr::bind_addr;
pub use database::Database;
pub use explain::one_line;
pub(crate) use exposure::check_exposure;
pub use http_limits::HttpLimits;
pub use origin::Origin;
pub use parse::{FILE, parse, parse_from};
pub use public_url::PublicUrl;
pub use redis::Redis;
pub use settings::{Settings, WorkerMode};
pub use tasks::TaskOptions;
pub use tls::Tls;
pub use values::one_of;
pub use worker::WorkerSettings;
