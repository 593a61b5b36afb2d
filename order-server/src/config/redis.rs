//! Settings of Redis.

use std::{fmt, sync::Arc, time::Duration};

use clap::Args;
use order_core::{
    OrderService, RedisClient,
    cache::{LocalCache, RedisCache},
    queue::RedisQueue,
    service::Builder,
    store::Store,
};

use super::values::{millis, without_password};

/// Settings of Redis, for the server and the command line alike.
#[derive(Clone, Args)]
pub struct Redis {
    /// Redis for the queue and the cache, such as redis://HOST:6379; for a cluster, any of its
    /// nodes. Without it, the queue is in the database and the cache in the process
    #[arg(long, env, hide_env_values = true, global = true)]
    pub redis_url: Option<String>,

    /// Seconds for which a product may stay in the cache; 0 turns the cache off
    #[arg(
        long,
        env,
        default_value_t = 300,
        value_name = "SECONDS",
        global = true
    )]
    pub cache_ttl: u64,
}

/// The time limit for an answer of Redis, after which work goes on without it.
const REDIS_LIMIT: Duration = Duration::from_millis(500);

impl Redis {
    /// A client, if there is a Redis. It does not connect yet.
    ///
    /// # Errors
    /// When the URL cannot be parsed.
    pub fn client(&self) -> anyhow::Result<Option<RedisClient>> {
        let client = |url| RedisClient::new(url, REDIS_LIMIT);
        Ok(self.redis_url.as_deref().map(client).transpose()?)
    }

    /// A service over `store` with the queue and the cache of these settings, which use `client` if
    /// there is one.
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
