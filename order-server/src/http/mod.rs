//! What every request meets, whatever it asks for.

mod cors;
mod dashboard;
mod deadline;
mod documents;
mod errors;
mod head_size;
pub mod json;
mod methods;
pub mod prefer;
pub mod problem;
mod rate_limit;
mod request_id;
mod security;

use std::sync::Arc;

use order_core::{OrderService, RedisClient};
use poem::{
    Endpoint, EndpointExt, Response, Route, get, handler, middleware::CatchPanic, web::Redirect,
};
use tokio_util::sync::CancellationToken;

use self::{
    cors::Cors, deadline::Limit, errors::Errors, head_size::HeadSize, methods::Methods,
    problem::Problem, rate_limit::RateLimit, request_id::RequestId, security::Security,
};
use crate::{
    api,
    auth::{Identify, KeyRing},
    config::Edge,
};

/// The whole application. A request meets the layers from the last to the first: it gets its
/// name, its caller is known before it is counted, and counted before anything is done for it.
pub fn app(
    service: OrderService,
    redis: Option<RedisClient>,
    keys: Arc<KeyRing>,
    edge: &Edge,
    stop: CancellationToken,
) -> impl Endpoint<Output = Response> + use<> {
    let health = api::health::Health::new(service.clone(), redis);
    let api = api::service(service, health.clone(), stop);
    let methods = Methods::described(&api.spec());
    dashboard::add(documents::add(Route::new(), &api))
        .at("/", get(root))
        .nest("/api/v1", api)
        .nest("/health", api::health::routes(health))
        .with(CatchPanic::new().with_handler(|_| Problem::internal()))
        .with(Errors::new(methods))
        .with(Limit::new(edge.request_timeout()))
        .with(HeadSize)
        .with(RateLimit::new(edge.rate_limit, edge.rate_limit_burst))
        .with(Identify::new(keys))
        .with(Cors::new(&edge.cors_origins))
        .with(Security)
        .with(RequestId::default())
}

#[handler]
fn root() -> Redirect {
    Redirect::temporary("/dashboard")
}
