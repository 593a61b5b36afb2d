//! What every request meets, whatever it asks for.

mod cors;
mod dashboard;
mod deadline;
mod documents;
mod errors;
mod head_size;
pub mod idempotency;
pub mod json;
mod measured;
mod methods;
mod metrics;
mod origin_check;
pub mod prefer;
pub mod problem;
mod rate_limit;
mod request_id;
mod security;
mod traced;

use std::sync::Arc;

use order_core::{OrderService, RedisClient};
use poem::{
    Endpoint, EndpointExt, Response, Route, get, handler, middleware::CatchPanic, web::Redirect,
};
use tokio_util::sync::CancellationToken;

use self::{
    cors::Cors, deadline::Limit, errors::Errors, head_size::HeadSize, measured::Measured,
    methods::Methods, metrics::MetricsPage, origin_check::OriginCheck, problem::Problem,
    rate_limit::RateLimit, request_id::RequestId, security::Security,
};
use crate::{
    api::{self, description::describe},
    auth::{Identify, KeyRing},
    config::Edge,
};

/// The whole application.
pub fn app(
    service: OrderService,
    redis: Option<RedisClient>,
    keys: Arc<KeyRing>,
    edge: &Edge,
    stop: CancellationToken,
) -> impl Endpoint<Output = Response> + use<> {
    let health = api::health::Health::new(service.clone(), redis);
    let metrics = MetricsPage::new(service.clone());
    let api = api::service(service, health.clone(), stop);
    let description = describe(&api);
    let methods = Methods::described(&description);
    let routes = dashboard::add(documents::add(Route::new(), &api, description))
        .at("/", get(root))
        .at("/metrics", get(metrics))
        .nest("/api/v1", api)
        .nest("/health", api::health::routes(health));
    layered(routes, methods, keys, edge)
}

/// What a process shows that serves nothing else: its metrics, and whether it is well.
pub fn side_app(
    service: OrderService,
    redis: Option<RedisClient>,
    keys: Arc<KeyRing>,
    edge: &Edge,
) -> impl Endpoint<Output = Response> + use<> {
    let metrics = MetricsPage::new(service.clone());
    let health = api::health::Health::new(service, redis);
    let routes = Route::new()
        .at("/metrics", get(metrics))
        .nest("/health", api::health::routes(health));
    layered(routes, Methods::default(), keys, edge)
}

/// What every request meets, from the last layer to the first: it gets its name, is measured,
/// its caller is known before it is checked and counted, and that before anything is done for it.
fn layered(
    routes: Route,
    methods: Methods,
    keys: Arc<KeyRing>,
    edge: &Edge,
) -> impl Endpoint<Output = Response> + use<> {
    let methods = Arc::new(methods);
    routes
        .with(CatchPanic::new().with_handler(|_| Problem::internal()))
        .with(Errors::new(Arc::clone(&methods)))
        .with(Limit::new(edge.request_timeout()))
        .with(HeadSize)
        .with(RateLimit::new(edge.rate_limit, edge.rate_limit_burst))
        .with(OriginCheck::new(edge))
        .with(Identify::new(keys))
        .with(Cors::new(&edge.cors_origins))
        .with(Security)
        .with(Measured::new(Arc::clone(&methods)))
        .with(RequestId::new(methods))
}

#[handler]
fn root() -> Redirect {
    Redirect::temporary("/dashboard")
}
