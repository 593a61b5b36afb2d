//! Settings: flags over environment over `orders.toml` over defaults.

mod allowed_host;
mod edge;
mod origin;
mod parse;
mod processing;
mod tls;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Parser, ValueEnum};
use order_core::{
    Error, OrderService, RedisClient, WorkerOptions,
    cache::{LocalCache, RedisCache},
    queue::RedisQueue,
    service::Builder,
    store::{self, Store, Strategy},
};
use url::Url;

pub use allowed_host::AllowedHost;
pub use edge::Edge;
pub use origin::Origin;
pub use parse::{FILE, parse, parse_from};
pub use processing::AfterSale;
pub use tls::Tls;

/// The settings of the server.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "order-server",
    version,
    about = "Sells stock over HTTP, exactly"
)]
pub struct Settings {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: Database,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub redis: Redis,

    /// Address to listen on
    #[arg(long, env, default_value = "127.0.0.1:8000", value_name = "HOST:PORT")]
    pub bind_addr: SocketAddr,

    /// Whether this process also decides what was accepted, and does what follows a sale
    #[arg(long, env, default_value = "embedded")]
    pub worker: WorkerMode,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub deciding: Deciding,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub after_sale: AfterSale,

    /// Requests that may wait for their turn, each way, before more are answered 503
    #[arg(long, env, default_value_t = 10_000)]
    pub max_waiting: usize,

    /// How long a request may look to have to wait for the end of its turn before it is
    /// answered 503 at once
    #[arg(long, env, default_value_t = 500, value_parser = positive())]
    pub max_wait_ms: u64,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub edge: Edge,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub tls: Tls,

    /// How to write the log, whose levels RUST_LOG sets
    #[arg(long, env, default_value = "text")]
    pub log_format: LogFormat,

    /// Listen beyond this machine although there are no API keys, and nobody has to prove who
    /// they are; the first key that is made ends that
    #[arg(long)]
    pub insecure_no_auth: bool,
}

impl Settings {
    /// How long a request may look to have to wait.
    #[must_use]
    pub const fn max_wait(&self) -> Duration {
        millis(self.max_wait_ms)
    }

    /// Whether these settings may serve; `is_open` when there are no keys.
    ///
    /// # Errors
    /// When the settings do not go together.
    pub fn check(&self, is_open: bool) -> anyhow::Result<()> {
        check_exposure(self.bind_addr, is_open, self.insecure_no_auth)
    }
}

/// Whether to listen on `address`, when a server `is_open` for the lack of keys.
///
/// # Errors
/// When whoever reaches it would need no key, and not everybody who does is on this machine.
pub fn check_exposure(
    address: SocketAddr,
    is_open: bool,
    insecure_no_auth: bool,
) -> anyhow::Result<()> {
    if is_open && !address.ip().is_loopback() && !insecure_no_auth {
        bail!(
            "{address} is reachable from other machines and there are no API keys: \
             make one (order-cli key create --name NAME --scope admin), listen on 127.0.0.1, \
             or give --insecure-no-auth"
        );
    }
    Ok(())
}

/// How orders are decided, for the worker in the server and for worker processes alike.
#[derive(Clone, Copy, Debug, Args)]
pub struct Deciding {
    /// How concurrent orders are kept apart: batch, row_lock or conditional_update
    #[arg(long, env, default_value_t)]
    pub strategy: Strategy,

    /// The most orders to decide in one transaction
    #[arg(long, env = "WORKER_BATCH_ORDERS", default_value_t = 1_000, value_parser = positive())]
    pub batch_orders: u64,

    /// How long a claim on Redis holds before other workers take it over; the same for all
    #[arg(long, env = "WORKER_LEASE_MS", default_value_t = 30_000, value_parser = positive())]
    pub lease_ms: u64,

    /// How long to wait, when there was nothing to do, before looking again
    #[arg(long, env = "WORKER_IDLE_POLL_MS", default_value_t = 50, value_parser = positive())]
    pub idle_poll_ms: u64,
}

/// So many milliseconds, or a century: more could not be added to a time.
const fn millis(count: u64) -> Duration {
    const CENTURY: u64 = 36_525 * 86_400_000;
    Duration::from_millis(if count < CENTURY { count } else { CENTURY })
}

fn positive() -> impl clap::builder::TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(1..)
}

impl Deciding {
    /// The same, as a worker takes it.
    #[must_use]
    pub fn options(&self) -> WorkerOptions {
        WorkerOptions::default()
            .with_strategy(self.strategy)
            .with_batch_orders(usize::try_from(self.batch_orders).unwrap_or(usize::MAX))
            .with_lease(millis(self.lease_ms))
            .with_idle_poll(millis(self.idle_poll_ms))
    }
}

/// Redis, for the server and the command line alike.
#[derive(Clone, Args)]
pub struct Redis {
    /// Redis for the queue and the cache, such as redis://HOST:6379; of a cluster, any node.
    /// Without it, the database is the queue and the cache is in the process
    #[arg(long, env, hide_env_values = true, global = true)]
    pub redis_url: Option<String>,

    /// How long a product may stay in the cache, in seconds; 0 turns the cache off
    #[arg(
        long,
        env,
        default_value_t = 300,
        value_name = "SECONDS",
        global = true
    )]
    pub cache_ttl: u64,
}

/// How long to wait for an answer of Redis before going on without it.
const REDIS_LIMIT: Duration = Duration::from_millis(500);

impl Redis {
    /// A client, where there is a Redis. Does not connect yet.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn client(&self) -> anyhow::Result<Option<RedisClient>> {
        let client = |url| RedisClient::new(url, REDIS_LIMIT);
        Ok(self.redis_url.as_deref().map(client).transpose()?)
    }

    /// A service over `store` with the queue and the cache of these settings, on `client`
    /// where there is one.
    #[must_use]
    pub fn builder(&self, store: Arc<dyn Store>, client: Option<RedisClient>) -> Builder {
        let mut builder = OrderService::builder(store);
        if let Some(client) = &client {
            builder = builder.queue(Arc::new(RedisQueue::new(client.clone())));
        }
        let ttl = millis(self.cache_ttl.saturating_mul(1_000));
        match client {
            _ if ttl.is_zero() => builder,
            Some(client) => builder.cache(Arc::new(RedisCache::new(client, ttl))),
            None => builder.cache(Arc::new(LocalCache::new(ttl))),
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field(
                "redis_url",
                &self.redis_url.as_deref().map(without_password),
            )
            .field("cache_ttl", &self.cache_ttl)
            .finish()
    }
}

/// The database, for the server and the command line alike.
#[derive(Clone, Args)]
pub struct Database {
    /// Where products and orders are: sqlite://FILE or postgres://USER:PASSWORD@HOST/NAME
    #[arg(
        long,
        env,
        default_value = "sqlite://orders.db",
        hide_env_values = true,
        global = true
    )]
    pub database_url: String,

    /// Leave the schema as it is, instead of bringing it up to date at start
    #[arg(long, env, global = true)]
    pub no_migrate: bool,
}

impl Database {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// When the database is not there, or refuses.
    pub async fn open(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.migrated(store::connect(&self.database_url).await)
            .await
    }

    /// The same for whoever only reads: never makes a database.
    ///
    /// # Errors
    /// As [`open`](Self::open); also when a file that is named is not there.
    pub async fn open_existing(&self) -> anyhow::Result<Arc<dyn Store>> {
        self.migrated(store::connect_existing(&self.database_url).await)
            .await
    }

    async fn migrated(
        &self,
        connected: Result<Arc<dyn Store>, Error>,
    ) -> anyhow::Result<Arc<dyn Store>> {
        let store = connected.with_context(|| format!("cannot open the database {self}"))?;
        if !self.no_migrate {
            store
                .migrate()
                .await
                .context("cannot migrate the database")?;
        }
        Ok(store)
    }
}

/// Without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.database_url))
    }
}

/// A URL as it can be shown.
fn without_password(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return "(not a URL)".to_owned();
    };
    url.set_query(None);
    url.set_fragment(None);
    // Refused only where a URL has no place for a password.
    let _ = url.set_password(None);
    url.to_string()
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("database_url", &self.to_string())
            .field("no_migrate", &self.no_migrate)
            .finish()
    }
}

/// Whether a server process has a worker in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WorkerMode {
    /// Yes.
    Embedded,
    /// No: others decide.
    Off,
}

/// How to write the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: a JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn read(arguments: &[&str], file: &str) -> Result<Settings, String> {
        let arguments = ["order-server"].iter().chain(arguments).map(OsString::from);
        parse_from(arguments, file).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = "bind_addr = \"127.0.0.1:1\"\nworker = \"off\"\nmax_waiting = 5";
        let settings = read(&["--bind-addr", "127.0.0.1:2"], file).unwrap();
        assert_eq!(settings.bind_addr.port(), 2);
        assert_eq!(settings.worker, WorkerMode::Off);
        assert_eq!(settings.max_waiting, 5);
        assert_eq!(settings.deciding.strategy, Strategy::Batch);
    }

    #[test]
    fn several_origins_stand_in_one_setting() {
        let both = "https://shop.example,http://localhost:3000";
        let by_flag = read(&["--cors-origins", both], "").unwrap();
        assert_eq!(by_flag.edge.cors_origins.len(), 2);
        let by_file = read(&[], &format!("cors_origins = \"{both}\"")).unwrap();
        assert_eq!(by_file.edge, by_flag.edge);
        let refused = read(&["--cors-origins", "*"], "").unwrap_err();
        assert!(refused.contains("--cors-origins"), "{refused}");
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (file, named) in [
            ("bind_adr = \"x\"", "unknown setting `bind_adr`"),
            ("bind_addr = \"x\"", "--bind-addr"),
            ("max_waiting = 1.5", "`max_waiting` cannot be float"),
            ("strategy = \"fast\"", "--strategy"),
        ] {
            let refused = read(&[], file).unwrap_err();
            assert!(refused.contains(named), "{file}: {refused}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = "postgres://shop:s3cr3t@db/orders?password=s3cr3t";
        let settings = read(&["--database-url", url], "").unwrap();
        assert_eq!(settings.database.to_string(), "postgres://shop@db/orders");
        for url in [
            "postgres://db/o?user=shop&password=s3cr3t@x",
            "postgres://shop:s3cr3t?@db/orders",
            "postgres://shop:s3cr3t@db:port/orders",
        ] {
            let settings = read(&["--database-url", url], "").unwrap();
            assert!(!settings.database.to_string().contains("s3cr3t"), "{url}");
        }
        let settings = read(&["--redis-url", "redis://:s3cr3t@cache:6379/0"], "").unwrap();
        assert!(!format!("{settings:?}").contains("s3cr3t"));
    }

    #[test]
    fn the_default_edge_is_that_without_flags() {
        let settings = read(&[], "").unwrap();
        assert_eq!(settings.edge, Edge::default());
    }

    #[test]
    fn an_open_server_stays_on_this_machine() {
        let check = |flags: &[&str], is_open| read(flags, "").unwrap().check(is_open);
        assert!(check(&[], true).is_ok());
        for everywhere in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
            let flags = ["--bind-addr", everywhere];
            assert!(check(&flags, true).is_err(), "{everywhere}");
            assert!(check(&flags, false).is_ok(), "{everywhere}");
            let flags = ["--bind-addr", everywhere, "--insecure-no-auth"];
            assert!(check(&flags, true).is_ok(), "{everywhere}");
        }
    }
}
