//! The routes of the server, behind the middleware.

use std::sync::Arc;

use order_core::{OrderService, RedisClient};
use poem::{Endpoint, Response, Route, get, handler, web::Redirect};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{self, Health},
    auth::KeyCache,
    config::HttpLimits,
    middleware::{ApiRoutes, layered},
    pages::{dashboard, documents, metrics::MetricsPage},
};

/// The whole application.
pub(crate) fn app(
    service: OrderService,
    redis: Option<RedisClient>,
    keys: Arc<KeyCache>,
    limits: &HttpLimits,
    stop: CancellationToken,
) -> impl Endpoint<Output = Response> + use<> {
    let health = Health::new(service.clone(), redis);
    let metrics = MetricsPage::new(service.clone());
    let api = api::service(service, health.clone(), limits.max_streams(), stop);
    let description = api::describe(&api);
    let api_routes = ApiRoutes::described(&description);
    let routes = dashboard::add(documents::add(Route::new(), &api, description))
        .at("/", get(root))
        .at("/metrics", get(metrics))
        .nest("/api/v1", api)
        .nest("/health", api::health_routes(health));
    layered(routes, api_routes, keys, limits)
}

/// The routes of a process that serves nothing but its metrics and its health.
pub(crate) fn metrics_app(
    service: OrderService,
    redis: Option<RedisClient>,
    keys: Arc<KeyCache>,
    limits: &HttpLimits,
) -> impl Endpoint<Output = Response> + use<> {
    let metrics = MetricsPage::new(service.clone());
    let health = Health::new(service, redis);
    let routes = Route::new()
        .at("/metrics", get(metrics))
        .nest("/health", api::health_routes(health));
    layered(routes, ApiRoutes::default(), keys, limits)
}

#[handler]
fn root() -> Redirect {
    Redirect::temporary("/dashboard")
}
