//! What every request meets, whatever it asks for.

mod deadline;
mod documents;
mod head_size;
pub mod json;
pub mod problem;
mod rate_limit;
mod request_id;

use std::sync::Arc;

use order_core::{OrderService, RedisClient};
use poem::{
    Endpoint, EndpointExt, Response, Route, get, handler, middleware::CatchPanic, web::Redirect,
};

use self::{
    deadline::Limit, head_size::HeadSize, problem::Problem, rate_limit::RateLimit,
    request_id::RequestId,
};
use crate::{
    api,
    auth::{Identify, KeyRing},
    config::Edge,
};

/// The whole application.
pub fn app(
    service: OrderService,
    redis: Option<RedisClient>,
    keys: Arc<KeyRing>,
    edge: &Edge,
) -> impl Endpoint<Output = Response> + use<> {
    let health = api::health::Health::new(service.clone(), redis);
    let api = api::service(service, health.clone());
    Route::new()
        .at("/", get(root))
        .at("/openapi.json", api.spec_endpoint())
        .nest("/docs", api.swagger_ui())
        .at("/redoc", documents::redoc(&api))
        .nest("/api/v1", api)
        .nest("/health", api::health::routes(health))
        .with(CatchPanic::new().with_handler(|_| Problem::internal()))
        .catch_all_error(async |error| Problem::from_poem(error))
        .with(Limit::new(edge.request_timeout()))
        .with(HeadSize)
        .with(RateLimit::new(edge.rate_limit, edge.rate_limit_burst))
        .with(Identify::new(keys))
        .with(RequestId::default())
}

#[handler]
fn root() -> Redirect {
    Redirect::temporary("/docs")
}
