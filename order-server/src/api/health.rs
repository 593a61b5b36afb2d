//! The health of the server, also outside of the prefix, where load balancers look.

use std::sync::Arc;

use order_core::{Error, OrderService, RedisClient};
use poem::Route;
use poem_openapi::{Object, OpenApi, OpenApiService};
use serde::Serialize;

use super::{shared_look::SharedLook, tag::Tag};
use crate::http::{json::Json, problem::Problem};

/// The answer of a process that is alive.
#[derive(Serialize, Object)]
struct Alive {
    /// `ok`.
    status: String,
}

/// The readiness of the server.
#[derive(Clone, Serialize, Object)]
struct Ready {
    /// `ready`, or `degraded` without Redis: slower, and still correct.
    status: String,
    /// `up`.
    database: String,
    /// `up`, or `down` if it does not answer or refuses commands; `null` if there is none.
    redis: Option<String>,
}

/// Figures of the product cache since the process started.
#[derive(Serialize, Object)]
struct CacheBody {
    /// Reads that the cache answered.
    hits: u64,
    /// Reads that it could not answer.
    misses: u64,
    /// Hits over hits and misses.
    ratio: f64,
    /// Calls that failed.
    errors: u64,
    /// Products in the cache; `null` if unknown, as with Redis.
    entries: Option<u64>,
}

/// The operations on the server itself.
#[derive(Clone)]
pub struct Health {
    service: OrderService,
    redis: Option<RedisClient>,
    /// Probes need no key and count against no limit: however many there are, the database answers
    /// one look at a time.
    look: Arc<SharedLook<Result<Ready, Problem>>>,
}

impl Health {
    pub(crate) fn new(service: OrderService, redis: Option<RedisClient>) -> Self {
        Self {
            service,
            redis,
            look: Arc::default(),
        }
    }

    async fn readiness(&self) -> Result<Json<Ready>, Problem> {
        self.look.get(async || self.look().await).await.map(Json)
    }

    async fn look(&self) -> Result<Ready, Problem> {
        // Every cause counts as unavailable: the server may be ready later.
        self.service
            .store()
            .check_writable()
            .await
            .map_err(|error| Error::Unavailable {
                source: Arc::new(error),
            })?;
        let redis_is_up = match &self.redis {
            Some(redis) => Some(redis.serves().await.is_ok()),
            None => None,
        };
        let word = |up| if up { "up" } else { "down" }.to_owned();
        let status = if redis_is_up == Some(false) {
            "degraded"
        } else {
            "ready"
        };
        Ok(Ready {
            status: status.to_owned(),
            database: word(true),
            redis: redis_is_up.map(word),
        })
    }

    fn cache(&self) -> Json<CacheBody> {
        let stats = self.service.cache_stats().unwrap_or_default();
        Json(CacheBody {
            hits: stats.hits,
            misses: stats.misses,
            ratio: stats.ratio,
            errors: stats.errors,
            entries: stats.entries,
        })
    }
}

fn is_alive() -> Json<Alive> {
    Json(Alive {
        status: "ok".to_owned(),
    })
}

#[OpenApi(tag = "Tag::Health")]
impl Health {
    /// Check whether the process is alive
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn alive(&self) -> Json<Alive> {
        is_alive()
    }

    /// Check whether the server can sell: 503 if the database takes no writes
    #[oai(path = "/health/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> Result<Json<Ready>, Problem> {
        self.readiness().await
    }

    /// Read figures of the product cache
    #[oai(
        path = "/health/cache/stats",
        method = "get",
        operation_id = "cacheStats"
    )]
    async fn cache_stats(&self) -> Json<CacheBody> {
        self.cache()
    }
}

/// The same, outside the prefix.
struct OutsideThePrefix(Health);

#[OpenApi]
impl OutsideThePrefix {
    #[oai(path = "/", method = "get")]
    async fn alive(&self) -> Json<Alive> {
        is_alive()
    }

    #[oai(path = "/ready", method = "get")]
    async fn ready(&self) -> Result<Json<Ready>, Problem> {
        self.0.readiness().await
    }

    #[oai(path = "/cache/stats", method = "get")]
    async fn cache_stats(&self) -> Json<CacheBody> {
        self.0.cache()
    }
}

/// The routes below `/health`.
#[must_use]
pub(crate) fn routes(health: Health) -> Route {
    let api = OpenApiService::new(OutsideThePrefix(health), "Health", "");
    Route::new().nest("/", api)
}
