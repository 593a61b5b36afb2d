//! Whether the server is well. Also answered outside the prefix, where load balancers look.

use order_core::OrderService;
use poem::Route;
use poem_openapi::{Object, OpenApi, OpenApiService};
use serde::Serialize;

use super::Tag;
use crate::http::{json::Json, problem::Problem};

/// How the server is.
#[derive(Serialize, Object)]
struct Wellbeing {
    /// `ok`, or `ready`.
    status: String,
}

/// The operations on the server itself.
pub struct Health {
    service: OrderService,
}

impl Health {
    pub(super) fn new(service: OrderService) -> Self {
        Self { service }
    }

    async fn is_ready(&self) -> Result<Json<Wellbeing>, Problem> {
        self.service.store().ping().await?;
        Ok(Json(Wellbeing {
            status: "ready".to_owned(),
        }))
    }
}

#[OpenApi(tag = "Tag::Health")]
impl Health {
    /// Whether the process is alive
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn alive(&self) -> Json<Wellbeing> {
        Json(Wellbeing {
            status: "ok".to_owned(),
        })
    }

    /// Whether it can serve: 503 when the database does not answer
    #[oai(path = "/health/ready", method = "get", operation_id = "ready")]
    async fn ready(&self) -> Result<Json<Wellbeing>, Problem> {
        self.is_ready().await
    }
}

/// The same, outside the prefix.
struct OutsideThePrefix(Health);

#[OpenApi]
impl OutsideThePrefix {
    #[oai(path = "/", method = "get")]
    async fn alive(&self) -> Json<Wellbeing> {
        self.0.alive().await
    }

    #[oai(path = "/ready", method = "get")]
    async fn ready(&self) -> Result<Json<Wellbeing>, Problem> {
        self.0.is_ready().await
    }
}

/// The routes below `/health`.
#[must_use]
pub(crate) fn service(service: OrderService) -> Route {
    let health = OutsideThePrefix(Health { service });
    Route::new().nest("/", OpenApiService::new(health, "Health", ""))
}
